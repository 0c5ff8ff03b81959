"""Transformers on downstream tasks: generators, models that take a causal graph, training."""

from __future__ import annotations

from causal_rl.downstream.acre_tokens import (
    RELATIONS,
    TRUE_RELATIONS,
    AcreRows,
    AcreTransformer,
    acre_rows,
    learn_relations,
)
from causal_rl.downstream.cue_classifier import (
    ClassifierOptions,
    CueClassifier,
    predict,
    train_classifier,
)
from causal_rl.downstream.cue_game import GAMES, CueGame, CueRows, make_game
from causal_rl.downstream.edge_tokens import EDGE_ATTENTIONS, EdgeTokenTransformer, edge_graph
from causal_rl.downstream.edge_transformer import EdgeTransformer, TriangularAttention
from causal_rl.downstream.explain_text import (
    TextExplanation,
    TextPrediction,
    explain_cue,
    explain_sentence,
    explain_text,
)
from causal_rl.downstream.irm import irm_penalty
from causal_rl.downstream.pair_composer import PairComposer
from causal_rl.downstream.pendulum import PendulumQuestions, draw_questions, pendulum_scm
from causal_rl.downstream.pendulum_model import (
    SceneTransformer,
    invariant_patches,
    scene_inputs,
    true_patches,
)
from causal_rl.downstream.pendulum_vit import SceneViT, draw_question_marks, vit_inputs
from causal_rl.downstream.rule_table import RuleTable
from causal_rl.downstream.stories import (
    StoryBatch,
    StoryTraining,
    encode_stories,
    hold_out,
    story_accuracy,
    train_on_stories,
)
from causal_rl.downstream.story_text import (
    EdgeExtractor,
    cut_windows,
    extract_edges,
    read_words,
    told_edges,
    train_extractor,
)
from causal_rl.downstream.text_graph import WordRegression, associated_words, fit_words
from causal_rl.downstream.text_model import TextTransformer
from causal_rl.downstream.text_tokens import (
    TextRows,
    make_vocabulary,
    pair_texts,
    question_texts,
    review_texts,
    text_rows,
)
from causal_rl.downstream.token_graph import CountEvidence, learn_token_graph
from causal_rl.downstream.token_model import TokenOptions, predict_classes, train_model

__all__ = [
    "EDGE_ATTENTIONS",
    "GAMES",
    "RELATIONS",
    "TRUE_RELATIONS",
    "AcreRows",
    "AcreTransformer",
    "ClassifierOptions",
    "CountEvidence",
    "CueClassifier",
    "CueGame",
    "CueRows",
    "EdgeExtractor",
    "EdgeTokenTransformer",
    "EdgeTransformer",
    "PairComposer",
    "PendulumQuestions",
    "RuleTable",
    "SceneTransformer",
    "SceneViT",
    "StoryBatch",
    "StoryTraining",
    "TextExplanation",
    "TextPrediction",
    "TextRows",
    "TextTransformer",
    "TokenOptions",
    "TriangularAttention",
    "WordRegression",
    "acre_rows",
    "associated_words",
    "cut_windows",
    "draw_question_marks",
    "draw_questions",
    "edge_graph",
    "encode_stories",
    "explain_cue",
    "explain_sentence",
    "explain_text",
    "extract_edges",
    "fit_words",
    "hold_out",
    "invariant_patches",
    "irm_penalty",
    "learn_relations",
    "learn_token_graph",
    "make_game",
    "make_vocabulary",
    "pair_texts",
    "pendulum_scm",
    "predict",
    "predict_classes",
    "question_texts",
    "read_words",
    "review_texts",
    "scene_inputs",
    "story_accuracy",
    "text_rows",
    "told_edges",
    "train_classifier",
    "train_extractor",
    "train_model",
    "train_on_stories",
    "true_patches",
    "vit_inputs",
]
