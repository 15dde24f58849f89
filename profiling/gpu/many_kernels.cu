/* A thousand kernels that nobody calls: what they cost a program that only holds them. */
template <int N> __global__ void unused(float *y) { y[threadIdx.x] = y[threadIdx.x] * N + blockIdx.x; }

#define TEN(n) \
    INSTANCE(n) INSTANCE(n + 1) INSTANCE(n + 2) INSTANCE(n + 3) INSTANCE(n + 4) INSTANCE(n + 5) INSTANCE(n + 6) INSTANCE(n + 7) \
    INSTANCE(n + 8) INSTANCE(n + 9)
#define HUNDRED(n) \
    TEN(n) TEN(n + 10) TEN(n + 20) TEN(n + 30) TEN(n + 40) TEN(n + 50) TEN(n + 60) TEN(n + 70) TEN(n + 80) TEN(n + 90)
#define INSTANCE(n) template __global__ void unused<n>(float *y);

HUNDRED(0) HUNDRED(100) HUNDRED(200) HUNDRED(300) HUNDRED(400)
HUNDRED(500) HUNDRED(600) HUNDRED(700) HUNDRED(800) HUNDRED(900)
