"""Skip tests that import transformers with an unsupported torch (transformers 4.57 requires 2.2)."""

import torch

collect_ignore = ["encodec", "musicgen", "test_build.py", "test_loading.py", "test_shapes.py", "test_verify.py"]
collect_ignore = collect_ignore if torch.__version__ < "2.2" else []
