/* harness.h: what the tests of CUDA kernels share: groups of cases, seeded numbers, matrices on the device.
 *
 * The program is plain C against CUDA's runtime: linked with kernels that nvcc compiled it runs on a GPU, linked with the
 * emulator it runs anywhere, and there under several schedules. A group is one kernel and variant; it prints one line. Its
 * numbers depend on the seed and the group's name alone, so a failing group runs alone.
 */
#ifndef RECTO_TESTS_KERNELS_CUDA_HARNESS_H
#define RECTO_TESTS_KERNELS_CUDA_HARNESS_H

#include "kernels/bf16.h"
#include "kernels/cuda/kernels_cuda.h"
#include "kernels/e4m3.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    uint64_t    seed;
    bool        quick;  /* the smaller half of the cases */
    bool        digests; /* a line for each group with a hash of what it downloaded, to compare devices */
    bool        orders; /* every schedule of the emulator for every case, instead of one of them in turn */
    const char *only;   /* groups whose name begins so, or null */
    const char *program;
};
extern struct options options;

/* False if the options leave this group out, or the device cannot run it. */
bool group_begin(const char *name, bool supported);
void group_end(void);
/* One check of the group; the text is printed where it fails. */
void check(bool passed, const char *text, ...) __attribute__((format(printf, 2, 3)));
int  finish(void);

/* The device under test, and the tables of kernels for it. `facts_80` are those of a device without wgmma. */
extern struct cuda_facts          facts, facts_80;
extern const struct cuda_kernels *kernels;
bool device_find(void);  /* says so and returns false where there is none */

/* Runs `launch_it` once under each schedule that the options ask for; once where there is a real device. */
typedef cudaError_t test_launch(const struct cuda_launch *launch, void *context);
/* Reports a failed launch as a failed check of `what`. */
bool launch_run(const struct cuda_launch *launch, test_launch *launch_it, void *context, const char *what);
/* How many times launch_run launches, and the schedule of the next: for cases that reset their outputs between. */
int  schedule_count(void);
void schedule_take(int index);

uint64_t random_bits(void);
int      random_int(int low, int high);  /* both included */
float    random_float(void);             /* about a normal distribution of deviation 1 */

/* Rows on the device with sentinels before, after and between them, and their image on the host. */
struct matrix {
    enum dtype type;
    int        rows, columns;
    size_t     stride;   /* bytes */
    char      *device;   /* of row 0 */
    char      *host;     /* the same */
    size_t     bytes;    /* of both, with what stands before and after */
};
/* gap: elements between rows; row 0 and the stride are multiples of 16 bytes, but for f32, where `gap` decides. */
struct matrix matrix_new(enum dtype type, int rows, int columns, int gap);
struct matrix matrix_random(enum dtype type, int rows, int columns, int gap, float scale);
double        matrix_get(const struct matrix *m, int row, int column);
void          matrix_set(struct matrix *m, int row, int column, double value);
void          matrix_fill_rows(struct matrix *m, int first, double value);  /* rows from `first` on */
void          matrix_fill_gaps(struct matrix *m);  /* what lies between rows becomes NaNs; the matrix is not intact any more */
void          matrix_upload(struct matrix *m);
void          matrix_download(struct matrix *m);
void          matrix_poison(struct matrix *m);          /* every element becomes a NaN, on the device too */
bool          matrix_intact(const struct matrix *m);    /* sentinels, after matrix_download */
void          memory_free_all(void);                    /* what matrix_new and device_ints gave */
int32_t      *device_ints(const int32_t *values, int count);
void         *device_bytes(size_t bytes);

/* Sequences of these lengths, padded by caps. */
struct packing {
    int      sequences, tokens, longest;
    int      sequence_cap, token_cap;
    int32_t  starts[1024];
    int32_t *device_starts;
};
struct packing    packing_new(const int *lengths, int count, int spare_tokens, int spare_sequences);
struct cuda_launch launch_of(const struct packing *p, enum cuda_rows rows);
/* A launch for plain rows: `live` of `cap`. Odd counts are of sequences, of which there are fewer than tokens. */
struct cuda_launch launch_rows(int live, int cap);

/* |actual - expected| at most `tolerance(row, column)`; the worst is named where it fails. NaN equals nothing. */
struct closeness {
    double worst;  /* of |difference| / tolerance */
    int    row, column;
    double actual, expected;
};
void closeness_add(struct closeness *c, double actual, double expected, double tolerance, int row, int column);
void check_close(const struct closeness *c, const char *text, ...) __attribute__((format(printf, 2, 3)));

/* Whether rows of codes and their scales, [1, rows], are what struct fp8_args says of x. */
void check_e4m3(const struct matrix *x, const struct matrix *codes, const struct matrix *scales, int rows);

void row_cases(void);
void linear_cases(void);
void linear_norm_cases(void);
void attention_cases(void);
void schedule_cases(void);
void choose_cases(void);
void same_bits_cases(void);
void far_cases(void);
void access_cases(void);  /* under the emulator alone */

#endif
