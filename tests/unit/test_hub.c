/* Names to folders: a small cache is built as the hub's own tools lay it out, links of one and two hops included. */
#include "loaders/hub.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMIT "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
#define OTHER "0123456789abcdef0123456789abcdef01234567"

static char root[64], models[128], cache[128];
static struct error error;

static const char *below(const char *folder, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void make_folder(const char *folder, const char *name)
{
    assert_int_equal(mkdir(below(folder, name), 0755), 0);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    FILE *file = fopen(below(folder, name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_repository(const char *stem)
{
    static const char *const parts[] = {"", "/refs", "/snapshots", "/blobs"};
    char name[256];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, "%s%s", stem, parts[i]);
        make_folder(cache, name);
    }
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/recto-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(models, sizeof models, "%s/models", root);
    snprintf(cache, sizeof cache, "%s/hub", root);
    make_folder(root, "models");
    make_folder(models, "all-minilm-l6-v2");
    make_folder(root, "hub");
    make_repository("models--BAAI--bge-small");
    write_file(cache, "models--BAAI--bge-small/refs/main", COMMIT);
    write_file(cache, "models--BAAI--bge-small/refs/v1.5", OTHER "\n");
    make_folder(cache, "models--BAAI--bge-small/snapshots/" COMMIT);
    make_folder(cache, "models--BAAI--bge-small/snapshots/" OTHER);
    make_folder(cache, "blobs");
    write_file(cache, "blobs/shared", "two hops");
    assert_int_equal(symlink("../../blobs/shared", below(cache, "models--BAAI--bge-small/blobs/abc")), 0);
    assert_int_equal(symlink("../../blobs/abc", below(cache, "models--BAAI--bge-small/snapshots/" COMMIT "/config.json")), 0);
    make_repository("models--broken--ref");
    write_file(cache, "models--broken--ref/refs/main", "../../../etc");
    make_repository("models--half--way");
    write_file(cache, "models--half--way/refs/main", COMMIT);
    make_repository("models--bert-base-uncased");
    write_file(cache, "models--bert-base-uncased/refs/main", COMMIT);
    make_folder(cache, "models--bert-base-uncased/snapshots/" COMMIT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- %s", root);
    return system(command);
}

static status find(const char *name, char *folder)
{
    struct hub_roots roots = {.models = models, .hub_cache = cache};
    error.message[0] = '\0';
    return hub_find(&roots, name, folder, &error);
}

static void finds(const char *name, const char *expected)
{
    char folder[HUB_PATH_MAX];
    if (find(name, folder) != STATUS_OK)
        fail_msg("'%s' was refused: %s", name, error.message);
    assert_string_equal(folder, expected);
}

static void refuses(const char *name, status code, const char *words)
{
    char folder[HUB_PATH_MAX];
    assert_int_equal(find(name, folder), code);
    assert_string_equal(folder, "");
    if (!strstr(error.message, words))
        fail_msg("'%s': expected '%s' in: %s", name, words, error.message);
}

static void test_paths(void **state)
{
    (void)state;
    finds(models, models);
    finds("tests/unit", "tests/unit");
    finds(".", ".");
    refuses("CMakeLists.txt", STATUS_MODEL, "found a file");
    refuses("/no/such/folder", STATUS_MODEL, "/no/such/folder: there is no such folder");
    refuses("./no-such-folder", STATUS_MODEL, "./no-such-folder: there is no such folder");
    refuses("a/b/c", STATUS_MODEL, "a/b/c: there is no such folder");
}

static void test_short_names(void **state)
{
    (void)state;
    char expected[256];
    snprintf(expected, sizeof expected, "%s/all-minilm-l6-v2", models);
    finds("all-minilm-l6-v2", expected);
    snprintf(expected, sizeof expected, "%s/models--bert-base-uncased/snapshots/" COMMIT, cache);
    finds("bert-base-uncased", expected);
    refuses("all-minilm", STATUS_MODEL, "model 'all-minilm' is not here");
    refuses("all-minilm", STATUS_MODEL, models);
}

static void test_cache(void **state)
{
    (void)state;
    char expected[256];
    snprintf(expected, sizeof expected, "%s/models--BAAI--bge-small/snapshots/" COMMIT, cache);
    finds("BAAI/bge-small", expected);
    finds("BAAI/bge-small@main", expected);
    finds("BAAI/bge-small@" COMMIT, expected);
    FILE *file = fopen(below(expected, "config.json"), "r");  /* two links away */
    assert_non_null(file);
    fclose(file);
    snprintf(expected, sizeof expected, "%s/models--BAAI--bge-small/snapshots/" OTHER, cache);
    finds("BAAI/bge-small@v1.5", expected);
}

static void test_cache_misses(void **state)
{
    (void)state;
    refuses("BAAI/bge-m3", STATUS_MODEL, "to get it: hf download BAAI/bge-m3");
    refuses("BAAI/bge-m3@v2", STATUS_MODEL, "hf download BAAI/bge-m3 --revision v2");
    refuses("BAAI/bge-small@v9", STATUS_MODEL, "hf download BAAI/bge-small --revision v9");
    refuses("BAAI/bge-small@ffffffffffffffffffffffffffffffffffffffff", STATUS_MODEL, "snapshot");
    refuses("half/way", STATUS_MODEL, "snapshot");
    refuses("broken/ref", STATUS_MODEL, "expected the hexadecimal digits of a commit");
    struct hub_roots none = {0};
    char   folder[HUB_PATH_MAX];
    assert_int_equal(hub_find(&none, "BAAI/bge-small", folder, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "no Hugging Face cache"));
    assert_int_equal(hub_find(&none, "bge-small", folder, NULL), STATUS_MODEL);
}

static void test_names_that_cannot_be(void **state)
{
    (void)state;
    static const char *const names[] = {
        "../hub/x",   "BAAI/..",          "BAAI/../x",       "BAAI/bge small", "BAAI/bge;rm",        "BAAI/",
        "/BAAI",      "BAAI//bge",        "BAAI--bge",       "BAAI/bge--small", "BAAI/bge@",         "BAAI/bge@../../x",
        "BAAI/bge@/", "BAAI/bge@a b",     "@main",           "...",            "BAAI/bge@main@x",    "$(id)"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        refuses(names[i], STATUS_MODEL, "there is no such folder, and no model can have this name");
    refuses("", STATUS_USAGE, "printable characters");
    refuses("a\nb", STATUS_USAGE, "printable characters");
    refuses("a\033[2Jb", STATUS_USAGE, "printable characters");
    char name[HUB_PATH_MAX + 8];
    memset(name, 'a', sizeof name);
    name[HUB_PATH_MAX] = '\0';
    refuses(name, STATUS_USAGE, "printable characters");
    name[300] = '\0';
    refuses(name, STATUS_MODEL, "there is no such folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),        cmocka_unit_test(test_short_names),
        cmocka_unit_test(test_cache),        cmocka_unit_test(test_cache_misses),
        cmocka_unit_test(test_names_that_cannot_be),
    };
    return cmocka_run_group_tests_name("hub", tests, setup, teardown);
}
