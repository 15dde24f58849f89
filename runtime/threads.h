/* threads.h: a few threads that sleep when there is nothing to do.
 *
 * A team of workers runs one function together: the caller as worker 0, helpers as 1, 2, ... Helpers that have just
 * finished wait for the next call on the processor for a few microseconds, because the operations of one small text follow
 * each other that closely, and then sleep in the kernel; nobody ever spins longer, so a neighbour's processor is safe.
 */
#ifndef RECTO_RUNTIME_THREADS_H
#define RECTO_RUNTIME_THREADS_H

#include "runtime/pool.h"

#include <stdatomic.h>

struct threads;

/* `helpers` threads beside the callers; 0 is allowed. */
MUST_CHECK status threads_open(struct threads **threads, struct pool *pool, int helpers, struct error *error);
void threads_close(struct threads *threads);  /* null is allowed; no team may be running */

/* Claims up to `wanted` idle helpers, has each of them run work(user, 1), (user, 2), ..., runs work(user, 0) itself, and
 * returns when all are done. Several callers may do this at once: helpers go to whoever comes first. Returns the number of
 * workers that took part, the caller included. */
typedef void threads_work(void *user, int worker);
int threads_run(struct threads *threads, int wanted, threads_work *work, void *user);

/* A counter to wait on: a short spin on the processor, then sleep in the kernel. Zero-initialised. */
struct gate {
    _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
};
void gate_await(struct gate *gate, uint32_t value);  /* returns when the counter has reached `value` (modulo 2^32) */
void gate_advance(struct gate *gate);                /* adds one and wakes who sleeps */

#endif
