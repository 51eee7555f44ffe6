"""What the tests with real vLLM ask of the processor: nothing that some processors cannot do."""

from tests.vllm import deployment, tiny_models


def test_real_vllm_computes_in_float32() -> None:
    asked = deployment.SMALL[deployment.SMALL.index("--dtype") + 1]
    assert asked == tiny_models.DTYPE == "float32"
