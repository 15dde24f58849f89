/* cuda_ranges.h: named ranges of time for tools that record a program, Nsight Systems and Nsight Compute: NVTX.
 *
 *   tokenize                          a window of texts, on the thread that called
 *   pack                              one pack of texts, from its memory to its vectors
 *     run                             on the device; its payload is the number of tokens
 *       launch | capture, replay      kernels one by one, or what is captured of them, and the order to compute it
 *         the copy of the inputs
 *         layer 0
 *           linear                    each op by the name that `recto plan` shows
 *       wait
 *
 * Ranges are what the host does: one of an op holds its launches, and a replay is one range, because the host gives one order.
 * They are of the thread that begins them and end in the opposite order. A tool makes itself known by NVTX_INJECTION64_PATH,
 * one of the options; without one, and in builds whose CUDA has no header of NVTX, a range costs one comparison.
 */
#ifndef RECTO_RUNTIME_CUDA_RANGES_H
#define RECTO_RUNTIME_CUDA_RANGES_H

#include <stdint.h>

struct cuda_ranges {
    void *domain;  /* "recto", as the tool knows it; null: nobody listens */
};

/* Loads the tool's library, the first time in a process. */
void cuda_ranges_open(struct cuda_ranges *ranges);
void cuda_ranges_close(struct cuda_ranges *ranges);

void cuda_ranges_push(const struct cuda_ranges *ranges, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* With a number that the tool shows beside the name. */
void cuda_ranges_push_count(const struct cuda_ranges *ranges, const char *name, uint64_t count);
void cuda_ranges_pop(const struct cuda_ranges *ranges);

#endif
