/* sort.h: sorting in place without memory.
 *
 * The C library's qsort takes a buffer of its own that no pool sees. A heap sort needs none and has no bad case; it is
 * not stable, so comparisons must decide every tie that matters.
 */
#ifndef RECTO_LOADERS_SORT_H
#define RECTO_LOADERS_SORT_H

#include <stddef.h>

typedef int sort_compare(const void *left, const void *right);

void sort_in_place(void *elements, size_t count, size_t element_bytes, sort_compare *compare);

#endif
