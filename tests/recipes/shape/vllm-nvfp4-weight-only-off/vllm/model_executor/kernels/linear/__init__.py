"""Shape only: written for the test. The kernels in order of preference."""

from vllm.model_executor.kernels.linear.nvfp4.flashinfer import FlashInferCuteDslNvFp4W4A16LinearKernel

POSSIBLE = [FlashInferCuteDslNvFp4W4A16LinearKernel, object]
