"""Layout transformation to channels-first."""


def test_flatten_after_channels_last_permutes_the_dense_kernel(simplify):
    operators, _ = simplify(
        """(float[N,3,2,4] x) => (float[N,5] y) <float[24,5] w, float[5] wb, int64[2] s = {-1,24}> {
        t = Transpose <perm = [0,2,3,1]> (x)  f = Reshape(t, s)  m = MatMul(f, w)  y = Add(m, wb) }"""
    )
    assert operators == ["Reshape", "Gemm"]


def test_channels_last_images_are_transposed_once_at_the_input(simplify):
    operators, _ = simplify(
        """(float[N,5,5,3] x) => (float[N,2,3,3] y) <float[2,3,3,3] w, float[3] a = {1,2,3}> {
        m = Mul(x, a)  t = Transpose <perm = [0,3,1,2]> (m)  y = Conv(t, w) }"""
    )
    assert operators == ["Transpose", "Conv"]


def test_single_channel_images_are_reshaped_instead_of_transposed(simplify):
    operators, _ = simplify(
        """(float[N,5,5,1] x) => (float[N,2,3,3] y) <float[2,1,3,3] w> {
        t = Transpose <perm = [0,3,1,2]> (x)  y = Conv(t, w) }"""
    )
    assert operators == ["Reshape", "Conv"]
