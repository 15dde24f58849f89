/* Sizes as people write them, and the environment's values, right and wrong. */
#include "runtime/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void sizes(void **state)
{
    (void)state;
    static const struct { const char *text; uint64_t bytes; } good[] = {
        { "0", 0 }, { "1", 1 }, { "65536", 65536 }, { "1K", 1024 }, { "1k", 1024 }, { "512M", 536870912 }, { "512MB", 536870912 },
        { "512MiB", 536870912 }, { "2g", 2147483648u }, { "3T", 3298534883328u }, { "18446744073709551615", UINT64_MAX },
        { "16777215T", UINT64_C(16777215) << 40 },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t     bytes = 77;
        struct error error = { 0 };
        if (options_parse_size(good[i].text, &bytes, &error) != STATUS_OK || bytes != good[i].bytes)
            fail_msg("%s: %llu, %s", good[i].text, (unsigned long long)bytes, error.message);
    }
}

static void what_is_no_size(void **state)
{
    (void)state;
    static const char *const bad[] = { "", " ", "M", "-1", "+1", " 1", "1 ", "1 M", "1.5G", "1X", "1B", "1KK", "1Mi", "1MBs", "1MiBs",
                                       "0x10", "18446744073709551616", "16777216T", "99999999999999999999G", "1\xc2\xb2", "1E3" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t     bytes = 77;
        struct error error = { 0 };
        if (options_parse_size(bad[i], &bytes, &error) != STATUS_USAGE)
            fail_msg("'%s' was taken for %llu", bad[i], (unsigned long long)bytes);
        assert_int_equal(bytes, 77);
        assert_non_null(strstr(error.message, bad[i]));
    }
}

static void forget_environment(void)
{
    static const char *const others[] = { "XDG_CACHE_HOME", "HOME", "HF_HOME" };
    for (size_t i = 0; i < OPTIONS; i++)
        unsetenv(option_table[i].variable);
    for (size_t i = 0; i < 3; i++)
        unsetenv(others[i]);
}

static void expect_folders(const char *cache, const char *hub)
{
    struct options options;
    assert_int_equal(options_read(&options, NULL), STATUS_OK);
    assert_string_equal(options.cache, cache);
    assert_string_equal(options.hub, hub);
    options_release(&options);
    assert_null(options.cache);
}

static void folders(void **state)
{
    (void)state;
    forget_environment();
    expect_folders("/tmp/recto", "");
    setenv("HOME", "/h", 1);
    expect_folders("/h/.cache/recto", "/h/.cache/huggingface/hub");
    setenv("XDG_CACHE_HOME", "/x", 1);
    expect_folders("/x/recto", "/x/huggingface/hub");
    setenv("HF_HOME", "/f", 1);
    expect_folders("/x/recto", "/f/hub");
    setenv("HF_HUB_CACHE", "/b", 1);
    setenv("RECTO_CACHE", "/r", 1);
    expect_folders("/r", "/b");
    setenv("RECTO_CACHE", "", 1);  /* empty is not set */
    expect_folders("/x/recto", "/b");
    forget_environment();
}

static void values(void **state)
{
    (void)state;
    struct options options;
    forget_environment();
    assert_int_equal(options_read(&options, NULL), STATUS_OK);
    assert_true(options.threads == 0 && options.memory == 0 && options.log == 1 && !*options.instructions && options.device == 0);
    options_release(&options);
    setenv("RECTO_THREADS", "3", 1);
    setenv("RECTO_MEMORY", "512M", 1);
    setenv("RECTO_LOG", "2", 1);
    setenv("RECTO_DEVICE", "cuda", 1);
    setenv("RECTO_INSTRUCTIONS", "avx2", 1);
    assert_int_equal(options_read(&options, NULL), STATUS_OK);
    assert_true(options.threads == 3 && options.memory == 512 << 20 && options.log == 2 && options.device == 2);
    assert_string_equal(options.instructions, "avx2");
    options_release(&options);
    forget_environment();
}

static void wrong_values_name_their_variable(void **state)
{
    (void)state;
    static const struct { const char *variable, *value; } bad[] = {
        { "RECTO_THREADS", "0" }, { "RECTO_THREADS", "-1" }, { "RECTO_THREADS", "1025" }, { "RECTO_THREADS", "two" },
        { "RECTO_THREADS", "2x" }, { "RECTO_THREADS", "99999999999999999999" }, { "RECTO_LOG", "3" }, { "RECTO_LOG", "-1" },
        { "RECTO_MEMORY", "lots" }, { "RECTO_MEMORY", "1.5G" }, { "RECTO_DEVICE", "gpu" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct options options;
        struct error   error = { 0 };
        forget_environment();
        setenv(bad[i].variable, bad[i].value, 1);
        assert_int_equal(options_read(&options, &error), STATUS_USAGE);
        assert_non_null(strstr(error.message, bad[i].variable));
        assert_non_null(strstr(error.message, bad[i].value));
        assert_null(options.cache);
    }
    forget_environment();
}

static void the_table_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPTIONS; i++)
        assert_true(option_table[i].variable && option_table[i].fallback && option_table[i].meaning);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),  cmocka_unit_test(what_is_no_size), cmocka_unit_test(folders),
        cmocka_unit_test(values), cmocka_unit_test(wrong_values_name_their_variable), cmocka_unit_test(the_table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
