/* parameters.h: how a network asks for its parameters, without knowing of files.
 *
 * A network names each parameter once, in a fixed order, and gets it ready for the kernels. The same walk serves twice: when
 * a model is packed the source reads the tensors and writes what it makes of them; when it is opened the source finds them
 * made. All pointers that come back live as long as the source's owner says (the open model).
 */
#ifndef RECTO_MODELS_PARAMETERS_H
#define RECTO_MODELS_PARAMETERS_H

#include "runtime/plan.h"

enum { LINEAR_PARTS = 3 };

/* One linear: outputs of several tensors stacked (query, key and value, say). */
struct linear_parameter {
    const char  *name;                  /* unique in the network, such as "layer.3.qkv" */
    int          parts;
    const char  *weights[LINEAR_PARTS]; /* [n, k] each */
    const char  *biases[LINEAR_PARTS];  /* [n] each; null where the layer has none */
    int          n, k;                  /* of one part */
    enum dtype   type;                  /* DTYPE_F32, DTYPE_BF16, DTYPE_I8 or DTYPE_F8_E4M3 */
    const float *scores;                /* [k] DTYPE_I8: how large each input is; its outliers are kept in f32. Null: none */
};

struct parameter_source {
    void *user;
    bool  packing;  /* tensors are read: the functions marked * exist */
    MUST_CHECK status (*vector)(void *user, const char *name, int length, const float **data, struct error *error);
    MUST_CHECK status (*table)(void *user, const char *name, int rows, int width, enum dtype type, const void **data,
                               struct error *error);
    MUST_CHECK status (*linear)(void *user, const struct linear_parameter *parameter, struct linear_weight *weight,
                                struct error *error);
    bool (*has)(void *user, const char *name);
    /* * out[n] = sum over k of W[n][k]^2 * energy[k], plus bias[n]^2: how a layer spreads the mean squares of its input */
    MUST_CHECK status (*spread)(void *user, const struct linear_parameter *parameter, const float *energy, float *out,
                                struct error *error);
    /* * out[k] = the mean over rows of the square of column k */
    MUST_CHECK status (*column_energy)(void *user, const char *name, int rows, int width, float *out, struct error *error);
    /* * out[k] = the greatest magnitude in column k of W over the column's standard deviation */
    MUST_CHECK status (*column_peaks)(void *user, const struct linear_parameter *parameter, float *out, struct error *error);
};

#endif
