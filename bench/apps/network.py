# SPDX-License-Identifier: ISC
"""A small network of PyTorch's XNNPACK operators, which run on pthreadpool. Prints a digest of the results."""

import hashlib

import torch

torch.manual_seed(0)
torch.set_num_threads(2)
picture = torch.rand(1, 32, 64, 64)
convolution = torch.ops.prepacked.conv2d_clamp_prepack(torch.rand(48, 32, 3, 3) - 0.5, torch.rand(48), [1, 1], [1, 1],
                                                       [1, 1], 1)
linear = torch.ops.prepacked.linear_clamp_prepack(torch.rand(40, 48) - 0.5, torch.rand(40))
digest = hashlib.sha256()
with torch.no_grad():
    for _ in range(100):
        middle = torch.ops.prepacked.conv2d_clamp_run(picture, convolution)
        result = torch.ops.prepacked.linear_clamp_run(middle.permute(0, 2, 3, 1).contiguous(), linear)
        digest.update(str(float(result.sum())).encode())
print(digest.hexdigest())
