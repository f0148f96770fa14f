"""Descriptions of tensors, and streams of their elements."""

import pytest

from audiocraft_export.checkpoint.tensor import LazyTensor, contiguous, is_shape, iter_elements
from audiocraft_export.storage.lazy_bytes import LazyBytes


def test_elements_are_whole_however_their_bytes_are_cut():
    data = bytes(range(12))
    for size in range(1, 13):
        pieces = [data[begin:begin + size] for begin in range(0, 12, size)]
        assert [piece for piece, _ in iter_elements(pieces, 4)] == pieces
        elements = [found for _, found in iter_elements(pieces, 4)]
        assert b"".join(elements) == data and all(len(found) % 4 == 0 for found in elements)


def test_a_contiguous_tensor_has_another_shape_only_with_as_many_elements():
    tensor = LazyTensor(LazyBytes.from_data(bytes(24)), "float32", 0, (2, 3), contiguous((2, 3)))
    assert tensor.is_contiguous and tensor.reshape((3, 2)).stride == (2, 1)
    for shape in ((4,), (-2, -3), (True, 6), (1,) * 64 + (6,)):
        with pytest.raises(ValueError):
            tensor.reshape(shape)
    assert not is_shape([1 << 63])
