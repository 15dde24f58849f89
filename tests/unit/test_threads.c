/* Gates lose no wake-up, teams run each worker once, and callers that compete for helpers all come back. */
#include "runtime/threads.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct pool *pool;

static int set_up(void **state)
{
    (void)state;
    return pool_open(&pool, 0, NULL) != STATUS_OK;
}

static int tear_down(void **state)
{
    (void)state;
    struct pool_usage usage;
    pool_usage(pool, &usage);
    pool_close(pool);
    return usage.in_use != 0;
}

static uint32_t random_next(uint32_t *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

/* Mostly nothing, often some turns on the processor, seldom long enough for the other side to fall asleep. */
static void delay(uint32_t *state)
{
    uint32_t dice = random_next(state) % 4096;
    if (dice < 2)
        nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    else if (dice < 512)
        for (volatile uint32_t i = 0; i < dice; i++)
            ;
}

/* ---- Gates ---- */

static uint32_t hand_overs = 100000;  /* a million by `test_threads 1000000`: a minute on a busy machine */

struct ball {
    struct gate there, back;
    uint64_t    value;  /* not atomic: the gates order it */
};

static void *play_back(void *user)
{
    struct ball *ball  = user;
    uint32_t     state = 3;
    for (uint32_t i = 1; i <= hand_overs; i++) {
        gate_await(&ball->there, i);
        ball->value += i;
        delay(&state);
        gate_advance(&ball->back);
    }
    return NULL;
}

static void a_ball_is_never_lost(void **state)
{
    (void)state;
    struct ball ball = { 0 };
    pthread_t   thread;
    uint32_t    random = 5;
    uint64_t    sum    = 0;
    assert_int_equal(pthread_create(&thread, NULL, play_back, &ball), 0);
    for (uint32_t i = 1; i <= hand_overs; i++) {
        delay(&random);
        gate_advance(&ball.there);
        gate_await(&ball.back, i);
        sum += i;
        if (ball.value != sum)
            fail_msg("hand-over %u", i);
    }
    pthread_join(thread, NULL);
}

struct crowd {
    struct gate gate;
    _Atomic int passed;
    uint32_t    wanted;
};

static void *wait_in_crowd(void *user)
{
    struct crowd *crowd = user;
    gate_await(&crowd->gate, crowd->wanted);
    atomic_fetch_add(&crowd->passed, 1);
    return NULL;
}

/* Nobody passes early, all sleepers wake, and the counter may pass 2^32. */
static void a_crowd_passes_together(void **state)
{
    (void)state;
    enum { PEOPLE = 6 };
    for (int round = 0; round < 4; round++) {
        struct crowd crowd = { .wanted = round % 2 ? 2 : 1000 };
        pthread_t    threads[PEOPLE];
        uint32_t     first = crowd.wanted - 5;  /* for 2: wraps */
        atomic_store(&crowd.gate.value, first);
        for (int i = 0; i < PEOPLE; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, wait_in_crowd, &crowd), 0);
        for (int i = 0; i < 4; i++)
            gate_advance(&crowd.gate);
        nanosleep(&(struct timespec){ .tv_nsec = round < 2 ? 20000000 : 0 }, NULL);
        assert_int_equal(atomic_load(&crowd.passed), 0);
        gate_advance(&crowd.gate);
        for (int i = 0; i < PEOPLE; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&crowd.passed), PEOPLE);
        assert_int_equal(atomic_load(&crowd.gate.sleepers), 0);
    }
}

static void a_gate_in_the_past_is_open(void **state)
{
    (void)state;
    struct gate gate = { 0 };
    gate_await(&gate, 0);
    gate_advance(&gate);
    gate_await(&gate, 0);
    gate_await(&gate, 1);
    gate_await(&gate, UINT32_MAX);
    assert_int_equal(atomic_load(&gate.value), 1);
}

/* ---- Teams ---- */

struct job {
    _Atomic int calls[16];
    _Atomic int sum;
};

static void count_call(void *user, int worker)
{
    struct job *job = user;
    atomic_fetch_add(&job->calls[worker], 1);
    atomic_fetch_add(&job->sum, 1);
}

static void each_worker_runs_once(void **state)
{
    (void)state;
    static const int helpers[] = { 0, 1, 3, 7 };
    for (size_t i = 0; i < sizeof helpers / sizeof *helpers; i++) {
        struct threads *threads;
        assert_int_equal(threads_open(&threads, pool, helpers[i], NULL), STATUS_OK);
        for (int wanted = 0; wanted <= 9; wanted++) {
            struct job job  = { 0 };
            int        took = threads_run(threads, wanted, count_call, &job);
            assert_int_equal(took, 1 + (wanted < helpers[i] ? wanted : helpers[i]));
            for (int worker = 0; worker < 16; worker++)
                assert_int_equal(job.calls[worker], worker < took);
        }
        threads_close(threads);
    }
    threads_close(NULL);
}

struct caller {
    pthread_t       thread;
    struct threads *threads;
    uint32_t        seed;
    int             rounds, wrong;
};

static void *call_again_and_again(void *user)
{
    struct caller *caller = user;
    for (int i = 0; i < caller->rounds; i++) {
        struct job job  = { 0 };
        int        took = threads_run(caller->threads, (int)(random_next(&caller->seed) % 5), count_call, &job);
        caller->wrong += atomic_load(&job.sum) != took || job.calls[0] != 1;
        delay(&caller->seed);
    }
    return NULL;
}

static void callers_share_helpers(void **state)
{
    (void)state;
    enum { CALLERS = 5 };
    struct threads *threads;
    struct caller   callers[CALLERS];
    assert_int_equal(threads_open(&threads, pool, 3, NULL), STATUS_OK);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){ .threads = threads, .seed = (uint32_t)i + 1, .rounds = (int)hand_overs / 100 };
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_again_and_again, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    threads_close(threads);
}

static void opening_and_closing(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct threads *threads;
        struct job      job = { 0 };
        assert_int_equal(threads_open(&threads, pool, i % 5, NULL), STATUS_OK);
        if (i % 2)
            threads_run(threads, 4, count_call, &job);
        threads_close(threads);
    }
}

static void no_room_for_the_pool_of_threads(void **state)
{
    (void)state;
    struct pool    *small;
    struct threads *threads = (void *)&small;
    struct error    error   = { 0 };
    assert_int_equal(pool_open(&small, 64, NULL), STATUS_OK);
    assert_int_equal(threads_open(&threads, small, 3, &error), STATUS_BUDGET);
    assert_null(threads);
    assert_non_null(strstr(error.message, "64 bytes"));
    pool_close(small);
}

int main(int count, char **arguments)
{
    if (count > 1)
        hand_overs = (uint32_t)strtoul(arguments[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_in_the_past_is_open), cmocka_unit_test(a_crowd_passes_together),
        cmocka_unit_test(a_ball_is_never_lost),       cmocka_unit_test(each_worker_runs_once),
        cmocka_unit_test(callers_share_helpers),      cmocka_unit_test(opening_and_closing),
        cmocka_unit_test(no_room_for_the_pool_of_threads),
    };
    alarm(600);  /* a lost wake-up is a wait for ever */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
