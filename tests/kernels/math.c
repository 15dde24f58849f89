/* exp and the activations against the C library in double precision, over dense ranges. The bounds are about a tenth above
 * what was measured; a coefficient wrong in its last digits breaks them. */
#include "kernels/math/math_ref.h"
#include "tests/kernels/harness.h"

#include <stdio.h>

static double exact_exp(double x) { return exp(x); }
static double exact_tanh(double x) { return tanh(x); }
static double exact_gelu_erf(double x) { return 0.5 * x * erfc(-x / sqrt(2.0)); }
static double exact_gelu_tanh(double x) { return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))); }
static double exact_silu(double x) { return x / (1.0 + exp(-x)); }

static const struct bound {
    const char *name;
    float (*tested)(float);
    double (*exact)(double);
    double low, high;
    bool   relative;  /* to the result, else to max(1, |x|) */
    double most;
} bounds[] = {
    { "exp", math_exp, exact_exp, -87.0, 88.0, true, 2.5e-7 },
    { "tanh", math_tanh, exact_tanh, -20.0, 20.0, false, 2.5e-7 },
    { "gelu_erf", math_gelu_erf, exact_gelu_erf, -20.0, 20.0, false, 2.5e-7 },
    { "gelu_near", math_gelu_near, exact_gelu_erf, -20.0, 20.0, false, 4.5e-5 },
    { "gelu_tanh", math_gelu_tanh, exact_gelu_tanh, -20.0, 20.0, false, 2.5e-7 },
    { "silu", math_silu, exact_silu, -80.0, 80.0, false, 2.5e-7 },
};

static double error_at(const struct bound *b, float x)
{
    double exact = b->exact((double)x), scale = b->relative ? exact : fmax(1.0, fabs((double)x));
    double error = fabs((double)b->tested(x) - exact) / scale;
    return isnan(error) ? INFINITY : error;
}

void math_tests(void)
{
    const int steps = options.quick ? 20000 : 1000000;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const struct bound *b     = &bounds[i];
        double              worst = 0.0;
        float               at    = 0.0f;
        if (!group_begin("ref", b->name))
            continue;
        for (int s = 0; s <= steps; s++) {
            float x = (float)(b->low + (b->high - b->low) * (double)s / steps);
            if (error_at(b, x) > worst) {
                worst = error_at(b, x);
                at    = x;
            }
        }
        check(worst <= b->most, "error %.3g at %a, at most %.3g expected", worst, (double)at, b->most);
        group_end();
        printf("     largest error of %s in [%g, %g]: %.3g %s, bound %.3g\n", b->name, b->low, b->high, worst,
               b->relative ? "of the result" : "of max(1, |x|)", b->most);
    }
}
