"""IHDP: an early-childhood programme with simulated outcomes (Hill 2011; setting B of NPCI)."""

from __future__ import annotations

import numpy as np

from causal_rl.datasets.effect_data import EffectData
from causal_rl.datasets.locate import DataFile, locate

_SOURCE = (
    "https://raw.githubusercontent.com/claudiashi57/dragonnet/"
    "5bf06ef7de616a2c6a773542b05e213cc56a21f4/dat/ihdp/csv"
)
REPLICATIONS = 20
#: Checksums of the tables as published, and of the packed ones, replication 1 first.
_PLAIN = [
    "2bdc8b94fdf2f669b1d3d49325fd9359d88418566545003867841312a1653411",
    "36db2f3d002250bc95e5214477718c939fbe7dfe8df573c4050d8b246d314042",
    "bd792ce0642468195b2c3f0cd4c521378d7d52d044f153e844d151a87e067518",
    "ac04602a2f052af1211347bcaff87f7bab356a4a7f42f8c6a81edede51549006",
    "8f9b3ef4b66e8f9dd240c9851233f4fb483c73c25b6d23c6459c666edb9cd691",
    "e05192794201c8a8fe1e4a88f12d3367d3d6b568eadb46365557661bff00712e",
    "246684bfc9e1258e5bdc59c3d1c13c0694a331d1f13026ff79f6c4605e6d3678",
    "6e88b890ee4ed6274b8ea4285500dd0865ab71e17010ee505f7e2a2d507c4511",
    "fe959d86a37be9278ef195fbf139b2b8af1b8246b3518208cd00b295d906a98f",
    "b9bce7e081f245b7689a3c2b5e4ed37162dca8cd596e0998b73ddc0ac92a4919",
    "877aab901d0f8cb772397b8571cc108d6be207e6623db91626487bff44cf2fbd",
    "7cfd1e04faf61ccefdb29e7dbd72bbbc40699d5ee45f6c3883acb9df8696c902",
    "47f03317fcdceab5dd6f744c40b9fd6f2b2630174dfefd9136c02bb6104aaeb3",
    "18fb8493c629192a1c745b54f1d804e4b1bc683926083f589c53919718078b5c",
    "8bba3f12aa5d886e4b0f8905305e55f653a9b86f49a1b230e8b3807d8ef4f509",
    "39a9103c2d46722c2b1dfe3c04ff20665dcab1ebbfe1368d2b45824c6ec99fdd",
    "9c76335fcd75a7abfcd1fa0a7be138ea9035f9b9f88ff85c451a0b758887aeac",
    "7dd08e1ffd86f24f77f33ba4c2ab4dd274662834abb7b43552bb68913532c7a6",
    "4e59786bef4620ae9d7ba8b98aed10c59b78d2539b59dd3da5fb129d78e07ef5",
    "09d6aa2a2e8814b6e42b150dc75ce6b3ff7214aa78e3102497acd7328dac5741",
]
_PACKED = [
    "1d4294e1c6e3b2362ca44b172da17371715fa71fe8822c789d247c3548797610",
    "5ac57ba9e2f2d06e0ffb7f2c462d014a0b93ee620d50c40ac3301e4906b22e43",
    "a74c9606aa1ef2517124db51a053006d93c53a2f6a7881d315a2c8ce7ce14e19",
    "1ba7663e6344f41f6ce1c48d076bd033c3977f2fbb68953a6b9b3b2767fe9038",
    "bfd92414b152fb25d52753902edbf9632a34f8028bbe1e332d55bd39d57e6793",
    "2fc0aa7feead33a4781e3974595936e8432b92aefc71ed3fd1dc0fbfeb3e8a8f",
    "af7d45c46168420a7742dd4e07c622e45decc349aa38ba23d58d15a5674413cd",
    "c6de1039d92237ede5c7b9c2f7b4c69d5cf71028f17b5860065bda54092bcf05",
    "9abc773c672ef871c8f511cdf0c669a23fb2e107a38523e8cbd462767b9292c1",
    "3645191cedecdd8d45873d571ec9ecc1c34c0fe2593666580276fbc3ed7a018b",
    "964055d370fd5fd4e10f7694c05a65db634670d6b39aab0338d369f42b04a636",
    "51b812c533e680bd958392faccc09d5e34c42afdbd6eebc52b59baea5d82d078",
    "19c1ba6619f1a72df8f775c0aafc2388620b2f25a0e5327311dc625a2e9840f8",
    "8fb5cf2d08a46974b335fa5bce0dfa30b47629d61478940c0e440e1e5835375f",
    "1e62d1a7994e472188d8f32107201d7e10d26af51ae375241de871586226a702",
    "b778d72a688144193e5ae7a025a104f8d28f7a816cb332f9431174c1c93cdb3e",
    "0ac4fd34b3c67c03ec7b05832fe8617ad1995ddf393e7392922aefa128eafa75",
    "af9bc71b485ca5e4c0a28618bef30b0f9e37921f12d1f40eae3a5da0f278d14e",
    "6d2f026306149c017ad8f8806f6463d3ee2a5e6d7f2431f1389be947e55cbf32",
    "56f51f4f611323a5fc924f5d49bd1ba20b73888d98864d27864d2fbe0ab2cd7d",
]
_SPLIT = DataFile(
    "ihdp/test_idx_reps1-20.npy",
    "7cf68eb724c9ee0f04c9d7dafe00a30666aa990afade03e786a97701f8d3faf0",
)
# The birth-order column is coded 1 and 2 where all other binary columns have 0 and 1.
_CODED_FROM_ONE = 13


def load_ihdp(replication: int = 1, *, split: bool = True) -> EffectData:
    """Load one simulation of the outcomes of 747 children, with 25 covariates.

    Args:
        replication: 1 to 20.
        split: also the canonical division into 672 training and 75 test rows. That file has no
            public address that could be checked; it must be below the folder that
            ``CAUSAL_RL_DATA`` names, or in the cache.

    Raises:
        DataUnavailableError: a file is not at hand and cannot be fetched.
        ValueError: no such replication, or a file is not the published one.
    """
    if replication not in range(1, REPLICATIONS + 1):
        raise ValueError(f"replication is {replication!r}; it must be 1 .. {REPLICATIONS}")
    name = f"ihdp_npci_{replication}.csv"
    path = locate(
        DataFile(f"ihdp/{name}.gz", _PACKED[replication - 1]),
        DataFile(f"ihdp/{name}", _PLAIN[replication - 1], f"{_SOURCE}/{name}"),
    )
    table = np.loadtxt(path, delimiter=",")
    t, factual, other, mu0, mu1 = table[:, :5].T
    X = table[:, 5:].copy()
    X[:, _CODED_FROM_ONE] -= 1.0
    train = test = None
    if split:
        test = np.sort(np.load(locate(_SPLIT))[replication - 1]).astype(np.int64)
        train = np.setdiff1d(np.arange(len(X)), test)
    return EffectData(
        X=X,
        names=tuple(f"x{i + 1}" for i in range(X.shape[1])),
        t=t.astype(np.int64),
        y=factual,
        y0=np.where(t == 1, other, factual),
        y1=np.where(t == 1, factual, other),
        mu0=mu0,
        mu1=mu1,
        train=train,
        test=test,
    )
