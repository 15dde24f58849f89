/* A cache folder that cannot be written, is full, damaged, or used by several processes at once: the vectors are the same, and
 * what had to be done about it is told to the log. */
#include "tests/support/embedder.h"
#include "tests/support/small_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 32, PATHS = SMALL_PATH_MAX + 320 };

static char  scratch[SMALL_PATH_MAX], cache[SMALL_PATH_MAX + 32], folder[SMALL_PATH_MAX + 32], other[SMALL_PATH_MAX + 32];
static float right[WIDTH], right_of_other[WIDTH];

/* What one opening and one text gave. */
struct outcome {
    recto_status        result;
    int                 packed_now;
    float               vector[WIDTH];
    struct embedder_log log;
    char                message[512];
};

static struct outcome open_with(const char *cache_folder, const char *model)
{
    struct embedder         embedder;
    struct embedder_options options = { .cache = cache_folder, .folder = model, .precision = RECTO_PRECISION_FP32 };
    struct outcome          outcome = { .result = embedder_open(&embedder, &options) };
    recto_model_info        info    = { .struct_size = sizeof info };
    if (outcome.result == RECTO_OK)
        outcome.result = embedder_embed(&embedder, "the quick brown fox", outcome.vector);
    if (embedder.model)
        recto_model_describe(embedder.model, &info);
    outcome.packed_now = info.packed_now;
    outcome.log        = embedder.log;
    memcpy(outcome.message, embedder.error.message, sizeof outcome.message);
    embedder_close(&embedder);
    return outcome;
}

static void write_model(const char *path, float change)
{
    struct small_model model;
    small_model_make(&model, &small_usual);
    ((float *)small_model_tensor(&model, "embeddings.LayerNorm.bias")->data)[3] += change;
    small_model_write(&model, path);
    small_model_release(&model);
}

static int set_up(void **state)
{
    (void)state;
    scratch_make(scratch);
    snprintf(cache, sizeof cache, "%s/cache", scratch);
    snprintf(folder, sizeof folder, "%s/model", scratch);
    snprintf(other, sizeof other, "%s/other", scratch);
    write_model(folder, 0.0f);
    write_model(other, 1.0f);
    struct outcome outcome = open_with(cache, folder), of_other = open_with(cache, other);
    memcpy(right, outcome.vector, sizeof right);
    memcpy(right_of_other, of_other.vector, sizeof right);
    return outcome.result != RECTO_OK || !outcome.packed_now || of_other.result != RECTO_OK ||
           memcmp(right, right_of_other, sizeof right) == 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

static int is_right(const struct outcome *outcome)
{
    return outcome->result == RECTO_OK && memcmp(outcome->vector, right, sizeof right) == 0;
}

static void expect_right(const struct outcome *outcome, int packed_now, int warnings)
{
    if (outcome->result != RECTO_OK)
        fail_msg("%s", outcome->message);
    assert_memory_equal(outcome->vector, right, sizeof right);
    assert_int_equal(outcome->packed_now, packed_now);
    if (outcome->log.warnings != warnings)
        fail_msg("%d warnings instead of %d, the last is '%s'", outcome->log.warnings, warnings, outcome->log.last);
}

/* ---- Folders that cannot be written ---- */

static void where_nothing_can_be_written(void **state)
{
    (void)state;
    char below[PATHS];
    snprintf(below, sizeof below, "%s/config.json/cache", folder);
    const char *const folders[] = { below, "/proc/recto-cache", "/dev/null" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (int again = 0; again < 2; again++) {
            struct outcome outcome = open_with(folders[i], folder);
            expect_right(&outcome, 1, 1);
            assert_non_null(strstr(outcome.log.last, folders[i]));
            assert_non_null(strstr(outcome.log.last, "made in memory"));
        }
}

/* The first file with the ending below the cache's folder `sub`. */
static int find_file(const char *root, const char *sub, const char *ending, char path[PATHS])
{
    char folder_path[SMALL_PATH_MAX + 64];
    snprintf(folder_path, sizeof folder_path, "%s/%s", root, sub);
    DIR           *open  = opendir(folder_path);
    struct dirent *entry;
    int            count = 0;
    while (open && (entry = readdir(open))) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        if (length >= tail && strcmp(entry->d_name + length - tail, ending) == 0 && entry->d_name[0] != '.' && !count++)
            snprintf(path, PATHS, "%s/%s", folder_path, entry->d_name);
    }
    if (open)
        closedir(open);
    return count;
}

static void a_folder_in_the_packs_place(void **state)
{
    (void)state;
    char mine[SMALL_PATH_MAX + 32], path[PATHS];
    snprintf(mine, sizeof mine, "%s/taken", scratch);
    struct outcome outcome = open_with(mine, folder);
    assert_int_equal(find_file(mine, "packed", ".pack", path), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    scratch_write(path, "something", "", 0);
    outcome = open_with(mine, folder);
    assert_true(outcome.log.warnings >= 1);
    assert_true(is_right(&outcome));
    assert_int_equal(find_file(mine, "packed", ".tmp", path), 0);
}

/* ---- In a child, because it changes the process ---- */

enum { CANNOT = 77 };

static int in_child(int (*act)(void))
{
    int   status;
    pid_t child = fork();
    if (child == 0)
        _exit(act());
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char own[SMALL_PATH_MAX + 32];

/* One warning, the right bits, nothing half done left in the folder. */
static int pack_in_own(void)
{
    char           path[PATHS];
    struct outcome outcome = open_with(own, folder);
    if (!is_right(&outcome) || outcome.log.warnings < 1 || !strstr(outcome.log.last, "made in memory"))
        return fprintf(stderr, "%d '%s' '%s'\n", outcome.result, outcome.message, outcome.log.last), 1;
    return find_file(own, "packed", ".tmp", path) + find_file(own, "packed", ".pack", path) ? 2 : 0;
}

static int with_small_files(void)
{
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t most = 0; most < 16384; most += most < 256 ? 64 : 4096) {
        struct rlimit limit = { most, RLIM_INFINITY };
        if (setrlimit(RLIMIT_FSIZE, &limit))
            return CANNOT;
        scratch_remove(own);
        struct outcome outcome = open_with(own, folder);
        if (outcome.result != RECTO_OK && outcome.result != RECTO_E_IO)  /* the pack in memory is a file to this limit too */
            return 1;
        if (outcome.result == RECTO_OK && !is_right(&outcome))
            return 2;
        if (outcome.result == RECTO_OK && outcome.log.warnings < 1)
            return 3;
        if (outcome.result == RECTO_E_IO && !*outcome.message)
            return 4;
    }
    return 0;
}

static int mount_own(const char *options, unsigned long flags)
{
    mkdir(own, 0777);
    if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return CANNOT;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", own, "tmpfs", flags, options))
        return CANNOT;
    return 0;
}

static int with_a_full_disk(void)
{
    int made = mount_own("size=24k", 0);
    return made ? made : pack_in_own();
}

static int with_no_inodes(void)
{
    int made = mount_own("nr_inodes=1", 0);
    return made ? made : pack_in_own();
}

static int with_a_read_only_disk(void)
{
    int made = mount_own("size=1m", MS_RDONLY);
    return made ? made : pack_in_own();
}

static void disks_that_are_full_or_read_only(void **state)
{
    (void)state;
    static int (*const acts[])(void) = { with_small_files, with_a_full_disk, with_no_inodes, with_a_read_only_disk };
    int done = 0;
    snprintf(own, sizeof own, "%s/own", scratch);
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        int code = in_child(acts[i]);
        if (code != 0 && code != CANNOT)
            fail_msg("act %zu ended with %d", i, code);
        done += code == 0;
        scratch_remove(own);
    }
    if (done < 4)
        print_message("%d of 4: this process may not mount\n", done);
}

/* ---- Damage ---- */

static void write_bytes(const char *path, const unsigned char *bytes, size_t length)
{
    char at[PATHS];
    snprintf(at, sizeof at, "%s", path);
    char *slash = strrchr(at, '/');
    *slash      = 0;
    unlink(path);
    scratch_write(at, slash + 1, bytes, length);
}

static unsigned char *read_bytes(const char *path, size_t *length) { return scratch_read("", path + 1, length); }

/* After each damage: made anew with a warning, and found by the opening after that. */
static void expect_repair(const char *cache_folder)
{
    struct outcome outcome = open_with(cache_folder, folder);
    expect_right(&outcome, 1, 1);
    assert_non_null(strstr(outcome.log.last, "made anew"));
}

static void damaged_packs(void **state)
{
    (void)state;
    char   mine[SMALL_PATH_MAX + 32], path[PATHS];
    size_t length;
    snprintf(mine, sizeof mine, "%s/damaged", scratch);
    open_with(mine, folder);
    assert_int_equal(find_file(mine, "packed", ".pack", path), 1);
    unsigned char *bytes = read_bytes(path, &length);
    for (size_t at = 0; at < length; at += at < 400 ? 7 : 1999) {
        if (at >= 8 && at < 16)
            continue;  /* another version of the format: no damage */
        bytes[at] ^= 0x20;
        write_bytes(path, bytes, length);
        bytes[at] ^= 0x20;
        expect_repair(mine);
    }
    for (size_t keep = 0; keep < length; keep += keep < 100 ? 33 : 7919) {
        write_bytes(path, bytes, keep);
        expect_repair(mine);
    }
    struct outcome outcome = open_with(mine, folder);
    expect_right(&outcome, 0, 0);
    free(bytes);
}

static void stale_packs(void **state)
{
    (void)state;
    char   mine[SMALL_PATH_MAX + 32], theirs[SMALL_PATH_MAX + 32], path[PATHS], foreign[PATHS];
    size_t length;
    snprintf(mine, sizeof mine, "%s/stale", scratch);
    snprintf(theirs, sizeof theirs, "%s/theirs", scratch);
    open_with(mine, folder);
    open_with(theirs, other);
    assert_int_equal(find_file(mine, "packed", ".pack", path), 1);
    assert_int_equal(find_file(theirs, "packed", ".pack", foreign), 1);
    unsigned char *bytes = read_bytes(foreign, &length);
    write_bytes(path, bytes, length);  /* sound, and of another model */
    struct outcome outcome = open_with(mine, folder);
    expect_right(&outcome, 1, 0);
    bytes[8]++;
    write_bytes(path, bytes, length);  /* of another version */
    outcome = open_with(mine, folder);
    expect_right(&outcome, 1, 0);
    outcome = open_with(mine, folder);
    expect_right(&outcome, 0, 0);
    free(bytes);
}

/* The remembered key of the weights: damaged, cut, of another file, all at once. */
static void damaged_keys(void **state)
{
    (void)state;
    char   mine[SMALL_PATH_MAX + 32], path[PATHS];
    size_t length;
    snprintf(mine, sizeof mine, "%s/keys", scratch);
    open_with(mine, folder);
    assert_int_equal(find_file(mine, "keys", ".key", path), 1);
    unsigned char *bytes = read_bytes(path, &length);
    for (size_t at = 0; at < length; at++) {
        bytes[at] ^= 1;
        write_bytes(path, bytes, length);
        bytes[at] ^= 1;
        struct outcome outcome = open_with(mine, folder);
        expect_right(&outcome, 0, 0);
        write_bytes(path, bytes, at);
        outcome = open_with(mine, folder);
        expect_right(&outcome, 0, 0);
    }
    free(bytes);
}

/* Other weights under the same name, of the same size, with the time of modification put back. */
static void replaced_weights(void **state)
{
    (void)state;
    char        mine[SMALL_PATH_MAX + 32], model[SMALL_PATH_MAX + 32], path[PATHS];
    struct stat before;
    snprintf(mine, sizeof mine, "%s/replaced", scratch);
    snprintf(model, sizeof model, "%s/replaced-model", scratch);
    snprintf(path, sizeof path, "%s/model.safetensors", model);
    write_model(model, 0.0f);
    struct outcome outcome = open_with(mine, model);
    expect_right(&outcome, 1, 0);
    assert_int_equal(stat(path, &before), 0);
    write_model(model, 1.0f);
    const struct timespec times[2] = { before.st_atim, before.st_mtim };
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    outcome = open_with(mine, model);
    assert_int_equal(outcome.result, RECTO_OK);
    assert_memory_equal(outcome.vector, right_of_other, sizeof right);
}

/* ---- Several processes ---- */

static int open_own(void)
{
    struct outcome outcome = open_with(own, folder);
    return is_right(&outcome) ? outcome.log.warnings : 1;
}

static void processes_at_once(void **state)
{
    (void)state;
    enum { PROCESSES = 6, ROUNDS = 8 };
    char path[PATHS];
    snprintf(own, sizeof own, "%s/together", scratch);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t children[PROCESSES];
        scratch_remove(own);
        for (int i = 0; i < PROCESSES; i++)
            if ((children[i] = fork()) == 0)
                _exit(open_own());
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
        assert_int_equal(find_file(own, "packed", ".pack", path), 1);
        assert_int_equal(find_file(own, "packed", ".tmp", path), 0);
        struct outcome outcome = open_with(own, folder);
        expect_right(&outcome, 0, 0);
    }
}

static int calls_left;

static int kill_later(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    (void)stage;
    (void)done;
    (void)total;
    if (calls_left-- == 0)
        raise(SIGKILL);
    return 0;
}

static int open_and_be_killed(void)
{
    struct embedder         embedder;
    struct embedder_options options = { .cache = own };
    recto_model_options     opening = { .struct_size = sizeof opening, .precision = RECTO_PRECISION_FP32, .progress = kill_later };
    if (embedder_start(&embedder, &options) != RECTO_OK)
        return 1;
    return recto_model_open(embedder.engine, folder, &opening, &embedder.model, &embedder.error) == RECTO_OK ? 2 : 3;
}

static void killed_while_packing(void **state)
{
    (void)state;
    int  killed = 0;
    char path[PATHS];
    snprintf(own, sizeof own, "%s/killed", scratch);
    for (int call = 0;; call++) {
        scratch_remove(own);
        calls_left = call;
        int code   = in_child(open_and_be_killed);
        if (code == 2)
            break;  /* more calls than there are */
        assert_int_equal(code, 128 + SIGKILL);
        killed++;
        assert_int_equal(find_file(own, "packed", ".pack", path), 0);
        struct outcome outcome = open_with(own, folder);
        expect_right(&outcome, 1, 0);
    }
    assert_true(killed > 5);
}

static int stop_at_once(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage;
    (void)done;
    (void)total;
    return ++*(int *)user == 3;
}

static void stopped_while_packing(void **state)
{
    (void)state;
    struct embedder     embedder;
    int                 calls = 0;
    char                mine[SMALL_PATH_MAX + 32], path[PATHS];
    recto_model_options opening = { .struct_size = sizeof opening, .progress = stop_at_once, .progress_user = &calls };
    snprintf(mine, sizeof mine, "%s/stopped", scratch);
    struct embedder_options options = { .cache = mine };
    assert_int_equal(embedder_start(&embedder, &options), RECTO_OK);
    uint64_t before = embedder_bytes(&embedder);
    assert_int_equal(recto_model_open(embedder.engine, folder, &opening, &embedder.model, &embedder.error), RECTO_E_CANCELLED);
    assert_null(embedder.model);
    assert_int_equal(calls, 3);
    assert_int_equal(embedder_bytes(&embedder), before);
    assert_int_equal(find_file(mine, "packed", "", path), 0);
    embedder_close(&embedder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nothing_can_be_written), cmocka_unit_test(a_folder_in_the_packs_place),
        cmocka_unit_test(disks_that_are_full_or_read_only), cmocka_unit_test(damaged_packs),
        cmocka_unit_test(stale_packs), cmocka_unit_test(damaged_keys),
        cmocka_unit_test(replaced_weights), cmocka_unit_test(processes_at_once),
        cmocka_unit_test(killed_while_packing), cmocka_unit_test(stopped_while_packing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
