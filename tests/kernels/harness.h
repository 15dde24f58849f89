/* harness.h: what the kernel tests share: groups of checks, seeded numbers, guarded memory.
 *
 * Plain C without a test library, so that the same program runs cross-compiled. A group is one kernel on one instruction
 * set; it prints one line. The numbers of a group depend on the seed and the kernel alone, so a failing group runs alone.
 */
#ifndef RECTO_TESTS_KERNELS_HARNESS_H
#define RECTO_TESTS_KERNELS_HARNESS_H

#include "kernels/kernels.h"
#include "tests/kernels/lanes_probe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    uint64_t    seed;
    bool        quick;  /* fewer and smaller shapes, for an emulator */
    const char *only;   /* one kernel, or null */
    const char *set;    /* one instruction set, or null */
    const char *program;
};
extern struct options options;

/* False if the options leave this group out. */
bool group_begin(const char *set, const char *kernel);
void group_end(void);
/* One case of the group. The text says which case; it is printed where it fails. */
void check(bool passed, const char *text, ...) __attribute__((format(printf, 2, 3)));
/* Between the two only the named groups run, nothing is printed of their failures, and those pass that do have some. */
void plant_begin(const char *const *kernels, int count);
void plant_end(void);
int finish(void);  /* prints the totals; the exit status */

uint64_t random_bits(void);
int      random_int(int low, int high);  /* low to high, both included */
float    random_float(void);             /* about a normal distribution of deviation 1; now and then 0 or -0 */
#define RANDOM_OF(list) ((list)[random_int(0, (int)(sizeof(list) / sizeof(list)[0]) - 1)])

/* Memory that ends at a page which cannot be touched; `alignment` of its size is its alignment. Filled with a sentinel. */
void *guarded_new(size_t bytes);
void  guarded_free_all(void);
float *guarded_floats(size_t count);  /* random */

/* Rows with a gap after each, filled with the sentinel. */
struct matrix {
    char  *rows;
    int    count;
    size_t row_bytes, stride;
};
struct matrix matrix_new(int rows, int columns, size_t element_bytes, int gap);
struct matrix matrix_random(int rows, int columns, int gap);  /* f32; the last row ends at the guard */
struct matrix matrix_copy(const struct matrix *from);
void         *matrix_row(const struct matrix *m, int row);
/* Whether two matrices of one shape have the same bytes, gaps included, and the gaps still hold the sentinel. */
bool matrix_same(const struct matrix *actual, const struct matrix *expected);

/* Part of [0, count), in half of the cases all of it. The reference runs [first, last) at once, the tested kernel
 * [middle, last) and then [first, middle). */
struct range {
    int first, middle, last;
};
struct range random_range(int count);

/* One file each. `tested` runs against kernels_ref. */
void linear_tests(const struct kernels *tested);
void attention_tests(const struct kernels *tested);
void row_tests(const struct kernels *tested);
void reference_tests(void);  /* the references against double precision */
void math_tests(void);       /* exp and the activations against the C library */
void lanes_tests(const char *set, lanes_probe *tested);  /* lanes against scalars */
void planted_tests(void);    /* that wrong kernels are caught */

#endif
