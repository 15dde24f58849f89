/* Single values: conversions, approximations, loads. */
#include "tests/emu/conformance/conformance.h"

#include <math.h>

enum { COUNT = 256 };

__global__ void __launch_bounds__(COUNT) exp2_kernel(const float *x, float *y)
{
    y[threadIdx.x] = exp2_approximate(x[threadIdx.x]);
}
__global__ void __launch_bounds__(COUNT) tanh_kernel(const float *x, float *y)
{
    y[threadIdx.x] = tanh_approximate(x[threadIdx.x]);
}

static bool approximates(const void *kernel, double (*function)(double), float tolerance)
{
    float x[COUNT], y[COUNT], expected[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i]        = (float)(i - COUNT / 2) / 16.0f;
        expected[i] = (float)function((double)x[i]);
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    void *args[] = { &dx, &dy };
    bool  ok     = device_launch(kernel, { 1, COUNT, 0, 0 }, args);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    for (int i = 0; i < COUNT && ok; i++)
        ok = fabsf(y[i] - expected[i]) <= tolerance * fabsf(expected[i]);
    return ok;
}

static bool run_exp2(void) { return approximates(KERNEL_HANDLE(exp2_kernel), exp2, 4e-7f); }
static bool run_tanh(void) { return approximates(KERNEL_HANDLE(tanh_kernel), tanh, 6e-4f); }

__global__ void __launch_bounds__(COUNT) e4m3_kernel(const float *x, uint16_t *y)
{
    y[threadIdx.x] = convert_e4m3x2(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
}

/* The nearest of all 127 magnitudes, ties to the even one. */
static uint8_t nearest_e4m3(float x)
{
    int   best          = 0;
    float best_distance = INFINITY;
    for (int code = 0; code < 127; code++) {
        int   exponent = code >> 3, fraction = code & 7;
        float value    = exponent ? ldexpf(1.0f + (float)fraction / 8.0f, exponent - 7) : ldexpf((float)fraction, -9);
        float distance = fabsf(fabsf(x) - value);
        if (distance < best_distance || (distance == best_distance && code % 2 == 0)) {
            best          = code;
            best_distance = distance;
        }
    }
    return (uint8_t)(best | (signbit(x) ? 0x80 : 0));
}

static bool run_e4m3(void)
{
    float   x[2 * COUNT];
    uint8_t y[2 * COUNT], expected[2 * COUNT];
    for (int i = 0; i < 2 * COUNT; i++) {
        x[i]        = ldexpf((float)(i % 37 - 18) + (float)(i % 3) * 0.25f, i % 19 - 12);
        expected[i] = nearest_e4m3(x[i]);
    }
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(e4m3_kernel, (device_grid{ 1, COUNT, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("codes", y, expected, sizeof y);
}

__global__ void __launch_bounds__(COUNT) load_once_kernel(const uint4 *x, uint4 *y)
{
    y[threadIdx.x] = load_once(&x[COUNT - 1 - threadIdx.x]);
}

static bool run_load_once(void)
{
    uint32_t x[4 * COUNT], y[4 * COUNT], expected[4 * COUNT];
    for (int i = 0; i < 4 * COUNT; i++)
        x[i] = (uint32_t)i * 2654435761u;
    for (int i = 0; i < 4 * COUNT; i++)
        expected[i] = x[4 * (COUNT - 1 - i / 4) + i % 4];
    void *dx = device_copy_of(x, sizeof x), *dy = device_make(sizeof y);
    bool  ok = LAUNCH(load_once_kernel, (device_grid{ 1, COUNT, 0, 0 }), &dx, &dy);
    device_read(y, dy, sizeof y);
    device_free(dx);
    device_free(dy);
    return ok && case_equal("words", y, expected, sizeof y);
}

const struct conformance_case cases_values[] = {
    { "ex2.approx.ftz.f32", run_exp2 },
    { "tanh.approx.f32", run_tanh },
    { "cvt.rn.satfinite.e4m3x2.f32", run_e4m3 },
    { "ld.global.nc.L1::no_allocate.v4", run_load_once },
    { NULL, NULL },
};
