"""Shape only: written for the test. The kernel that a development build ranks first."""


class FlashInferCuteDslNvFp4W4A16LinearKernel:
    pass
