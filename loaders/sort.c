#include "loaders/sort.h"

static void swap(char *left, char *right, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char kept = left[i];
        left[i] = right[i];
        right[i] = kept;
    }
}

/* Lets the element at `parent` sink until no child is larger. */
static void sink(char *heap, size_t parent, size_t count, size_t bytes, sort_compare *compare)
{
    for (size_t child; (child = 2 * parent + 1) < count; parent = child) {
        if (child + 1 < count && compare(heap + child * bytes, heap + (child + 1) * bytes) < 0)
            child++;
        if (compare(heap + parent * bytes, heap + child * bytes) >= 0)
            return;
        swap(heap + parent * bytes, heap + child * bytes, bytes);
    }
}

void sort_in_place(void *elements, size_t count, size_t element_bytes, sort_compare *compare)
{
    char *heap = elements;
    for (size_t parent = count / 2; parent-- > 0;)
        sink(heap, parent, count, element_bytes, compare);
    for (size_t last = count; last-- > 1;) {
        swap(heap, heap + last * element_bytes, element_bytes);
        sink(heap, 0, last, element_bytes, compare);
    }
}
