/* A pack is found whole or not at all: round trips, damage at every byte, full disks, writers that race or die. */
#include "loaders/pack.h"

#include "loaders/pack_format.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct pool *pool;
static char         folder[] = "/tmp/recto-pack-XXXXXX";
static char         path[64];
static const struct pack_identity identity = {"model 1, avx512", 15};

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/weights.pack", folder);
    return pool_open(&pool, 0, NULL);
}

static uint64_t booked(enum memory_category category)
{
    struct pool_usage usage;
    pool_usage(pool, &usage);
    return usage.by_category[category];
}

static int tear_down(void **state)
{
    (void)state;
    uint64_t left = booked(MEMORY_WEIGHTS) + booked(MEMORY_LOAD);
    pool_close(pool);
    return left != 0 || rmdir(folder) != 0;  /* rmdir: nothing was left in the folder either */
}

static int files_in_folder(void)
{
    int  count = 0;
    DIR *opened = opendir(folder);
    for (struct dirent *entry; (entry = readdir(opened));)
        count += entry->d_name[0] != '.';
    closedir(opened);
    return count;
}

static void must(status code, const struct error *error)
{
    if (code != STATUS_OK)
        fail_msg("%s: %s", status_name(code), error->message);
}

enum { BIG = 100000 };

/* The same three blobs, one of them in pieces, filled with `seed`. */
static status write_blobs(struct pack_writer *writer, int seed, struct error *error)
{
    char *big = malloc(BIG);
    memset(big, seed, BIG);
    status code = pack_writer_add(writer, "big", big, BIG, error);
    if (code == STATUS_OK)
        code = pack_writer_add(writer, "empty", NULL, 0, error);
    if (code == STATUS_OK)
        code = pack_writer_begin(writer, "abc", error);
    for (int i = 0; i < 3 && code == STATUS_OK; i++)
        code = pack_writer_append(writer, &"xyz"[i], 1, error);
    free(big);
    return code;
}

static void make_pack(const char *where, int seed, struct pack **pack)
{
    struct pack_writer *writer;
    struct error        error = {0};
    must(pack_writer_open(pool, where, &identity, &writer, &error), &error);
    must(write_blobs(writer, seed, &error), &error);
    must(pack_writer_finish(writer, pack, &error), &error);
}

static void check_blobs(const struct pack *pack, int seed)
{
    assert_int_equal(pack_count(pack), 3);
    assert_string_equal(pack_at(pack, 0)->name, "abc");
    assert_string_equal(pack_at(pack, 2)->name, "empty");
    assert_null(pack_at(pack, 3));
    assert_null(pack_find(pack, "ab"));
    const struct pack_blob *big = pack_find(pack, "big");
    assert_int_equal(big->bytes, BIG);
    for (int i = 0; i < BIG; i++)
        assert_int_equal(((const char *)big->data)[i], seed);
    assert_int_equal(pack_find(pack, "abc")->bytes, 3);
    assert_memory_equal(pack_find(pack, "abc")->data, "xyz", 3);
    assert_int_equal(pack_find(pack, "empty")->bytes, 0);
    for (size_t i = 0; i < pack_count(pack); i++)
        assert_int_equal((uintptr_t)pack_at(pack, i)->data % PACK_ALIGNMENT, 0);
}

static enum pack_outcome open_outcome(const struct pack_identity *asked, const char *part, struct pack **pack)
{
    enum pack_outcome outcome;
    struct error      error = {0};
    must(pack_open(pool, path, asked, pack, &outcome, &error), &error);
    assert_true((*pack != NULL) == (outcome == PACK_FOUND));
    if (part && !strstr(error.message, part))
        fail_msg("'%s' lacks '%s'", error.message, part);
    return outcome;
}

static void a_file_comes_back_as_it_was_written(void **state)
{
    (void)state;
    struct pack *pack;
    assert_int_equal(open_outcome(&identity, "no such file", &pack), PACK_ABSENT);
    make_pack(path, 7, &pack);
    check_blobs(pack, 7);
    pack_close(pack);
    assert_int_equal(booked(MEMORY_WEIGHTS), 0);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(open_outcome(&identity, NULL, &pack), PACK_FOUND);
    check_blobs(pack, 7);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(pack_bytes(pack), facts.st_size);
    assert_in_range(booked(MEMORY_WEIGHTS), facts.st_size, facts.st_size + 1024);
    assert_int_equal(booked(MEMORY_LOAD), 0);
    pack_close(pack);
    remove(path);
}

static void a_new_pack_replaces_the_old_one_and_leaves_its_readers_alone(void **state)
{
    (void)state;
    struct pack *old, *new;
    make_pack(path, 1, &old);
    make_pack(path, 2, &new);
    check_blobs(old, 1);
    check_blobs(new, 2);
    pack_close(old);
    pack_close(new);
    assert_int_equal(open_outcome(&identity, NULL, &new), PACK_FOUND);
    check_blobs(new, 2);
    pack_close(new);
    remove(path);
}

static void a_pack_in_memory_is_booked_as_it_grows(void **state)
{
    (void)state;
    struct pack_writer *writer;
    struct pack        *pack;
    struct error        error = {0};
    must(pack_writer_open(pool, NULL, &identity, &writer, &error), &error);
    must(write_blobs(writer, 9, &error), &error);
    assert_true(booked(MEMORY_WEIGHTS) >= BIG);
    must(pack_writer_finish(writer, &pack, &error), &error);
    check_blobs(pack, 9);
    assert_in_range(booked(MEMORY_WEIGHTS), pack_bytes(pack), pack_bytes(pack) + 1024);
    pack_close(pack);
    assert_int_equal(booked(MEMORY_WEIGHTS), 0);
    must(pack_writer_open(pool, NULL, &identity, &writer, &error), &error);
    must(write_blobs(writer, 9, &error), &error);
    pack_writer_abandon(writer);
    assert_int_equal(booked(MEMORY_WEIGHTS) + booked(MEMORY_LOAD), 0);
}

static void another_identity_is_stale(void **state)
{
    (void)state;
    static const struct pack_identity others[] = {{"model 2, avx512", 15}, {"model 1, avx51", 14}, {"", 0}, {NULL, 0},
                                                  {"model 1, avx512\0", 16}};
    struct pack *pack;
    make_pack(path, 7, &pack);
    pack_close(pack);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(open_outcome(&others[i], "identity differs", &pack), PACK_STALE);
    remove(path);
}

static void identities_have_a_limit_and_may_be_empty(void **state)
{
    (void)state;
    static char          bytes[PACK_IDENTITY_MAX + 1];
    struct pack_identity asked = {bytes, PACK_IDENTITY_MAX + 1};
    struct pack_writer  *writer;
    struct pack         *pack;
    struct error         error = {0};
    assert_int_equal(pack_writer_open(pool, path, &asked, &writer, &error), STATUS_USAGE);
    for (asked.length = PACK_IDENTITY_MAX;; asked.length = 0) {
        must(pack_writer_open(pool, path, &asked, &writer, &error), &error);
        must(pack_writer_finish(writer, &pack, &error), &error);  /* no blobs at all */
        pack_close(pack);
        assert_int_equal(open_outcome(&asked, NULL, &pack), PACK_FOUND);
        assert_int_equal(pack_count(pack), 0);
        pack_close(pack);
        if (asked.length == 0)
            break;
    }
    remove(path);
}

/* The bytes of a small pack. */
static unsigned char *small_pack(size_t *length)
{
    struct pack_writer *writer;
    struct pack        *pack;
    struct error        error = {0};
    must(pack_writer_open(pool, path, &identity, &writer, &error), &error);
    must(pack_writer_add(writer, "one", "0123456789", 10, &error), &error);
    must(pack_writer_add(writer, "two", "abc", 3, &error), &error);
    must(pack_writer_finish(writer, &pack, &error), &error);
    *length = (size_t)pack_bytes(pack);
    pack_close(pack);
    unsigned char *bytes = malloc(*length);
    FILE          *file = fopen(path, "rb");
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    fclose(file);
    return bytes;
}

static void replace_file(const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void damage_at_any_byte_is_never_accepted(void **state)
{
    (void)state;
    size_t         length;
    unsigned char *bytes = small_pack(&length);
    struct pack   *pack;
    int            stale = 0;
    for (size_t at = 0; at < length; at++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (unsigned char)(1 << bit);
            replace_file(bytes, length);
            enum pack_outcome outcome = open_outcome(&identity, path, &pack);
            assert_true(outcome == PACK_CORRUPT || (outcome == PACK_STALE && at >= 8 && at < 16));  /* the version */
            stale += outcome == PACK_STALE;
            bytes[at] ^= (unsigned char)(1 << bit);
        }
    assert_int_equal(stale, 64);
    replace_file(bytes, length);
    assert_int_equal(open_outcome(&identity, NULL, &pack), PACK_FOUND);
    pack_close(pack);
    free(bytes);
    remove(path);
}

static void cut_or_longer_files_are_corrupt(void **state)
{
    (void)state;
    size_t         length;
    unsigned char *bytes = small_pack(&length);
    struct pack   *pack;
    for (size_t cut = 0; cut < length; cut++) {
        replace_file(bytes, cut);
        assert_int_equal(open_outcome(&identity, path, &pack), PACK_CORRUPT);
    }
    bytes = realloc(bytes, length + 1);
    bytes[length] = 0;
    replace_file(bytes, length + 1);
    assert_int_equal(open_outcome(&identity, "expected", &pack), PACK_CORRUPT);
    free(bytes);
    remove(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(open_outcome(&identity, "a folder", &pack), PACK_CORRUPT);
    rmdir(path);
}

/* A table that lies although both hashes are right. */
static void forge(unsigned char *bytes, size_t length)
{
    struct pack_header header;
    memcpy(&header, bytes, sizeof header);
    size_t begin = sizeof header + identity.length;
    XXH128_canonicalFromHash(&header.content_hash, XXH3_128bits(bytes + begin, length - begin));
    header.header_hash = pack_header_hash(&header, identity.bytes);
    memcpy(bytes, &header, sizeof header);
    replace_file(bytes, length);
}

static void forged_tables_are_corrupt(void **state)
{
    (void)state;
    size_t             length;
    unsigned char     *bytes = small_pack(&length);
    struct pack_header header;
    struct pack_record records[2];
    struct pack       *pack;
    memcpy(&header, bytes, sizeof header);
    memcpy(records, bytes + header.table_offset, sizeof records);
    struct { size_t at; uint64_t value; const char *part; } cases[] = {
        {header.table_offset + 0, 65, "no multiple of 64"},
        {header.table_offset + 0, 0, "outside the file's blobs"},
        {header.table_offset + 0, header.table_offset + 64, "outside the file's blobs"},
        {header.table_offset + 0, (uint64_t)-64, "outside the file's blobs"},
        {header.table_offset + 8, (uint64_t)-1, "outside the file's blobs"},
        {header.table_offset + 8, header.table_offset, "outside the file's blobs"},
        {header.table_offset + 16, header.name_bytes, "outside the names"},
        {header.table_offset + 40, records[0].name_at, "two blobs 'one'"},
        {offsetof(struct pack_header, table_offset), 0, "does not end with the file"},
        {offsetof(struct pack_header, table_offset), (uint64_t)-1, "does not end with the file"},
        {offsetof(struct pack_header, blobs), 3, "does not end with the file"},
        {offsetof(struct pack_header, blobs), (uint64_t)-1, "does not end with the file"},
        {offsetof(struct pack_header, name_bytes), 9, "does not end with the file"},
        {length - 8, 0x6565656565656565, "does not end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char *copy = malloc(length);
        memcpy(copy, bytes, length);
        memcpy(copy + cases[i].at, &cases[i].value, 8);
        forge(copy, length);
        assert_int_equal(open_outcome(&identity, cases[i].part, &pack), PACK_CORRUPT);
        free(copy);
    }
    free(bytes);
    remove(path);
}

static void two_blobs_of_one_name_cannot_be_written(void **state)
{
    (void)state;
    struct pack_writer *writer;
    struct pack        *pack;
    struct error        error = {0};
    must(pack_writer_open(pool, path, &identity, &writer, &error), &error);
    must(pack_writer_add(writer, "a", "1", 1, &error), &error);
    must(pack_writer_add(writer, "a", "2", 1, &error), &error);
    assert_int_equal(pack_writer_finish(writer, &pack, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "two blobs 'a'"));
    assert_int_equal(files_in_folder(), 0);
    must(pack_writer_open(pool, path, &identity, &writer, &error), &error);
    assert_int_equal(pack_writer_append(writer, "1", 1, &error), STATUS_USAGE);
    assert_int_equal(pack_writer_finish(writer, &pack, &error), STATUS_USAGE);
}

static void many_blobs_are_found(void **state)
{
    (void)state;
    struct pack_writer *writer;
    struct pack        *pack;
    struct error        error = {0};
    char                name[300];
    must(pack_writer_open(pool, path, &identity, &writer, &error), &error);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "%0*d", 1 + i % 200, i);
        must(pack_writer_add(writer, name, &i, sizeof i, &error), &error);
    }
    must(pack_writer_finish(writer, &pack, &error), &error);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "%0*d", 1 + i % 200, i);
        assert_memory_equal(pack_find(pack, name)->data, &i, sizeof i);
    }
    pack_close(pack);
    remove(path);
}

static void folders_that_cannot_be_written_are_named(void **state)
{
    (void)state;
    static const char *const places[] = {"/proc/weights.pack", "/dev/null/weights.pack", "/nonexistent/weights.pack"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct pack_writer *writer;
        struct error        error = {0};
        assert_int_equal(pack_writer_open(pool, places[i], &identity, &writer, &error), STATUS_IO);
        assert_null(writer);
        assert_non_null(strstr(error.message, places[i]));
    }
    /* the target itself cannot be replaced: found out at the end, and nothing stays */
    struct pack_writer *writer;
    struct pack        *pack;
    struct error        error = {0};
    assert_int_equal(mkdir(path, 0700), 0);
    must(pack_writer_open(pool, path, &identity, &writer, &error), &error);
    must(write_blobs(writer, 1, &error), &error);
    assert_int_equal(pack_writer_finish(writer, &pack, &error), STATUS_IO);
    assert_non_null(strstr(error.message, path));
    assert_int_equal(files_in_folder(), 1);
    rmdir(path);
}

/* A file size limit stands for the full disk: writes fail at every place in turn, cut short before. */
static void a_full_disk_leaves_the_old_pack_and_nothing_else(void **state)
{
    (void)state;
    struct pack  *pack;
    struct rlimit before, limit;
    make_pack(path, 5, &pack);
    uint64_t whole = pack_bytes(pack);
    pack_close(pack);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    int failures = 0;
    for (rlim_t bytes = 0; bytes < whole; bytes += bytes < 512 || bytes > whole - 512 ? 1 : 997) {
        struct pack_writer *writer;
        struct error        error = {0};
        limit = (struct rlimit){bytes, before.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
        status code = pack_writer_open(pool, path, &identity, &writer, &error);
        if (code == STATUS_OK) {
            code = write_blobs(writer, 6, &error);  /* or what is held back meets the limit at the end */
            code = pack_writer_finish(writer, &pack, code == STATUS_OK ? &error : NULL);
        }
        setrlimit(RLIMIT_FSIZE, &before);
        assert_true(code != STATUS_OK);
        if (!strstr(error.message, path) && error.message[0])
            fail_msg("%s", error.message);
        failures += strstr(error.message, "File too large") != NULL;
        assert_int_equal(files_in_folder(), 1);
    }
    assert_true(failures > 300);
    assert_int_equal(open_outcome(&identity, NULL, &pack), PACK_FOUND);
    check_blobs(pack, 5);
    pack_close(pack);
    remove(path);
}

static void a_small_budget_refuses_cleanly(void **state)
{
    (void)state;
    struct pack *pack;
    make_pack(path, 5, &pack);
    uint64_t whole = pack_bytes(pack);
    pack_close(pack);
    struct pool *kept = pool;
    int refused = 0, found = 0;
    for (uint64_t ceiling = 64; ceiling < 400000; ceiling += 1777)
        for (int in_memory = 0; in_memory < 2; in_memory++) {
            struct pack_writer *writer;
            enum pack_outcome   outcome;
            struct error        error = {0};
            assert_int_equal(pool_open(&pool, ceiling, NULL), STATUS_OK);
            status code = pack_open(pool, path, &identity, &pack, &outcome, &error);
            assert_true(code == STATUS_BUDGET ? !pack : outcome == PACK_FOUND && ceiling > whole);
            refused += code == STATUS_BUDGET;
            found += code == STATUS_OK;
            pack_close(pack);
            code = pack_writer_open(pool, in_memory ? NULL : path, &identity, &writer, &error);
            if (code == STATUS_OK && (code = write_blobs(writer, 5, &error)) != STATUS_OK)
                pack_writer_abandon(writer);
            else if (code == STATUS_OK && (code = pack_writer_finish(writer, &pack, &error)) == STATUS_OK)
                pack_close(pack);
            assert_true(code == STATUS_OK || code == STATUS_BUDGET);
            assert_int_equal(booked(MEMORY_WEIGHTS) + booked(MEMORY_LOAD), 0);
            pool_close(pool);
            assert_int_equal(files_in_folder(), 1);
        }
    pool = kept;
    assert_true(refused > 0 && found > 0);
    remove(path);
}

/* Four processes pack the same model and open it again and again: each open finds all of one of them. */
static void writers_that_race_all_succeed(void **state)
{
    (void)state;
    pid_t children[4];
    for (int child = 0; child < 4; child++)
        if ((children[child] = fork()) == 0) {
            for (int round = 0; round < 40; round++) {
                struct pack_writer *writer;
                struct pack        *pack;
                enum pack_outcome   outcome;
                if (pack_writer_open(pool, path, &identity, &writer, NULL) || write_blobs(writer, child, NULL) ||
                    pack_writer_finish(writer, &pack, NULL))
                    _exit(1);
                pack_close(pack);
                if (pack_open(pool, path, &identity, &pack, &outcome, NULL) || outcome != PACK_FOUND)
                    _exit(2);
                const unsigned char *big = pack_find(pack, "big")->data;
                for (int i = 0; i < BIG; i++)
                    if (big[i] != big[0])
                        _exit(3);
                pack_close(pack);
            }
            _exit(0);
        }
    for (int child = 0; child < 4; child++) {
        int result;
        assert_int_equal(waitpid(children[child], &result, 0), children[child]);
        assert_int_equal(result, 0);
    }
    assert_int_equal(files_in_folder(), 1);
    remove(path);
}

/* Killed at some point of its work, a writer leaves the old pack or a whole new one. */
static void a_killed_writer_leaves_a_whole_pack(void **state)
{
    (void)state;
    struct pack *pack;
    make_pack(path, 1, &pack);
    pack_close(pack);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0)
            for (;;) {
                make_pack(path, 1 + round % 2, &pack);
                pack_close(pack);
            }
        usleep((useconds_t)(200 + 177 * round));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(open_outcome(&identity, NULL, &pack), PACK_FOUND);
        check_blobs(pack, *(const char *)pack_find(pack, "big")->data);
        pack_close(pack);
    }
    char command[96];  /* killed between its two last steps it may leave one temporary file: see pack_writer.c */
    snprintf(command, sizeof command, "rm -f %s/*", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back_as_it_was_written),
        cmocka_unit_test(a_new_pack_replaces_the_old_one_and_leaves_its_readers_alone),
        cmocka_unit_test(a_pack_in_memory_is_booked_as_it_grows),
        cmocka_unit_test(another_identity_is_stale),
        cmocka_unit_test(identities_have_a_limit_and_may_be_empty),
        cmocka_unit_test(damage_at_any_byte_is_never_accepted),
        cmocka_unit_test(cut_or_longer_files_are_corrupt),
        cmocka_unit_test(forged_tables_are_corrupt),
        cmocka_unit_test(two_blobs_of_one_name_cannot_be_written),
        cmocka_unit_test(many_blobs_are_found),
        cmocka_unit_test(folders_that_cannot_be_written_are_named),
        cmocka_unit_test(a_full_disk_leaves_the_old_pack_and_nothing_else),
        cmocka_unit_test(a_small_budget_refuses_cleanly),
        cmocka_unit_test(writers_that_race_all_succeed),
        cmocka_unit_test(a_killed_writer_leaves_a_whole_pack),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
