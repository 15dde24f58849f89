/* Every rule of the safetensors reader, each broken once; a small file cut and flipped at every place; shards. */
#include "loaders/safetensors.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct pool *pool;
static char         folder[] = "/tmp/recto-safetensors-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? pool_open(&pool, 0, NULL) : 1;
}

static int tear_down(void **state)
{
    (void)state;
    struct pool_usage usage;
    pool_usage(pool, &usage);
    pool_close(pool);
    return usage.in_use != 0 || rmdir(folder) != 0;
}

/* A file in memory, in a block of exactly its size, so that a sanitizer sees a read behind its end. */
struct bytes {
    unsigned char *at;
    size_t         length;
};

static struct bytes make_file(const char *header, size_t data_bytes)
{
    size_t       length = strlen(header);
    struct bytes file = {.length = 8 + length + data_bytes};
    file.at = malloc(file.length);
    for (int i = 0; i < 8; i++)
        file.at[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(file.at + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        file.at[8 + length + i] = (unsigned char)i;
    return file;
}

static status open_bytes(const struct bytes *file, struct safetensors **model, struct error *error)
{
    return safetensors_open_memory(pool, file->at, file->length, "m.safetensors", model, error);
}

static void refused_bytes(struct bytes file, const char *part)
{
    struct safetensors *model;
    struct error        error = {0};
    assert_int_equal(open_bytes(&file, &model, &error), STATUS_MODEL);
    assert_null(model);
    if (!strstr(error.message, part) || !strstr(error.message, "m.safetensors"))
        fail_msg("'%s' lacks '%s'", error.message, part);
    free(file.at);
}

static void refused(const char *header, size_t data_bytes, const char *part)
{
    refused_bytes(make_file(header, data_bytes), part);
}

static void accepted(const char *header, size_t data_bytes, size_t tensors)
{
    struct bytes        file = make_file(header, data_bytes);
    struct safetensors *model;
    struct error        error = {0};
    if (open_bytes(&file, &model, &error) != STATUS_OK)
        fail_msg("%s: %s", header, error.message);
    assert_int_equal(safetensors_count(model), tensors);
    safetensors_close(model);
    free(file.at);
}

#define TENSOR(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const char *const golden = "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("b.w", "F32", "[2,3]", "[4,28]") "," TENSOR(
    "a", "BF16", "[2]", "[0,4]") "," TENSOR("c", "U8", "[]", "[28,29]") "}  ";
enum { GOLDEN_DATA = 29 };

static void views_are_sorted_and_point_into_the_file(void **state)
{
    (void)state;
    struct bytes        file = make_file(golden, GOLDEN_DATA);
    struct safetensors *model;
    struct error        error;
    assert_int_equal(open_bytes(&file, &model, &error), STATUS_OK);
    assert_int_equal(safetensors_count(model), 3);
    assert_string_equal(safetensors_at(model, 0)->name, "a");
    assert_string_equal(safetensors_at(model, 2)->name, "c");
    assert_null(safetensors_at(model, 3));
    assert_null(safetensors_find(model, "b"));
    const struct tensor_view *view = safetensors_find(model, "b.w");
    assert_int_equal(view->dtype, DTYPE_F32);
    assert_int_equal(view->rank, 2);
    assert_int_equal(view->shape[0], 2);
    assert_int_equal(view->shape[1], 3);
    assert_int_equal(view->bytes, 24);
    assert_int_equal(view->file_offset, 8 + strlen(golden) + 4);
    assert_ptr_equal(view->data, file.at + view->file_offset);
    assert_int_equal(*(const unsigned char *)view->data, 4);
    assert_int_equal(safetensors_find(model, "c")->rank, 0);
    unsigned char before = *(const unsigned char *)view->data;
    safetensors_drop(model, view->data, view->bytes);  /* without effect: these pages are not ours */
    assert_int_equal(*(const unsigned char *)view->data, before);
    safetensors_close(model);
    free(file.at);
}

static void rule_length_is_there_and_inside_the_file(void **state)
{
    (void)state;
    refused_bytes((struct bytes){NULL, 0}, "0 bytes");
    refused_bytes((struct bytes){calloc(7, 1), 7}, "7 bytes");
    static const unsigned char lengths[][8] = {
        {3}, {255, 255, 255, 255}, {0, 0, 0, 0, 0, 0, 0, 128}, {255, 255, 255, 255, 255, 255, 255, 255},
        {249, 255, 255, 255, 255, 255, 255, 255}};  /* the last: 8 + length wraps to 1 */
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct bytes file = make_file("{}", 0);
        memcpy(file.at, lengths[i], 8);
        refused_bytes(file, "byte 0: the header claims");
    }
}

static void rule_header_is_at_most_100000000_bytes(void **state)
{
    (void)state;
    uint64_t       length;
    struct error   error;
    unsigned char  prefix[8] = {0x00, 0xe1, 0xf5, 0x05};
    assert_int_equal(safetensors_header_length(prefix, UINT64_MAX, "m", &length, &error), STATUS_OK);
    assert_int_equal(length, 100000000);
    prefix[0]++;
    assert_int_equal(safetensors_header_length(prefix, UINT64_MAX, "m", &length, &error), STATUS_MODEL);
}

static void rule_header_begins_with_a_brace_and_ends_with_spaces_only(void **state)
{
    (void)state;
    accepted("{}", 0, 0);
    accepted("{}      ", 0, 0);
    refused("", 0, "byte 8: expected '{'");
    refused(" {}", 0, "byte 8: expected '{'");
    refused("[]", 0, "byte 8: expected '{'");
    refused("        ", 0, "byte 8: expected '{'");
    refused("{}\n", 0, "byte 10: expected '}'");
    refused("{} x", 0, "byte 11: expected '}'");
    refused("{", 0, "byte 8: expected '}'");
    refused("{}{}", 0, "end of file expected");
}

static void rule_json_is_strict_and_utf8(void **state)
{
    (void)state;
    refused("{\"a\xff\":1}", 0, "0xff");
    refused("{\"a\":}", 0, "the header (byte 8 to 14)");
    refused("{'a':1}", 0, "string or '}' expected");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,],\"data_offsets\":[0,1]}}", 1, "unexpected token");
    refused("{" TENSOR("a", "U8", "[01]", "[0,1]") "}", 1, "invalid token");
}

static void rule_no_key_twice(void **state)
{
    (void)state;
    refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("a", "U8", "[1]", "[1,2]") "}", 2, "duplicate object key");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("\\u0061", "U8", "[1]", "[1,2]") "}", 2, "duplicate object key");
    refused("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "duplicate object key");
    refused("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "duplicate object key");
}

static void rule_metadata_maps_strings_to_strings(void **state)
{
    (void)state;
    accepted("{\"__metadata__\":{}}", 0, 0);
    accepted("{\"__metadata__\":{\"a\":\"b\",\"c\":\"\"}}", 0, 0);
    refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ 'a' is an integer, expected a string");
    refused("{\"__metadata__\":{\"a\":{}}}", 0, "expected a string");
    refused("{\"__metadata__\":[]}", 0, "__metadata__ is an array");
    refused("{\"__metadata__\":null}", 0, "__metadata__ is null");
}

static void rule_three_fields_of_the_right_kind(void **state)
{
    (void)state;
    refused("{\"a\":1}", 0, "tensor 'a' is an integer");
    refused("{\"a\":[\"U8\",[1],[0,1]]}", 1, "tensor 'a' is an array");
    refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is absent");
    refused("{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is an integer");
    refused("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape is absent");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, "shape is an integer");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets");
    refused("{" TENSOR("a", "U8", "[1]", "[0]") "}", 1, "data_offsets");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1,2]") "}", 1, "data_offsets");
    refused("{" TENSOR("a", "U8", "[1]", "[0,\"1\"]") "}", 1, "data_offsets");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1.0]") "}", 1, "data_offsets");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"stride\":1}}", 1, "a field 'stride'");
}

static void rule_dtype_is_one_of_the_list(void **state)
{
    (void)state;
    char header[128];
    for (int i = 0; i < DTYPE_COUNT; i++) {
        int bytes = dtype_bits((enum dtype)i);  /* of 8 elements */
        assert_true(bytes > 0);
        snprintf(header, sizeof header, "{" TENSOR("a", "%s", "[8]", "[0,%d]") "}", dtype_name((enum dtype)i), bytes);
        accepted(header, (size_t)bytes, 1);
    }
    assert_int_equal(DTYPE_COUNT, 22);
    refused("{" TENSOR("a", "f32", "[1]", "[0,4]") "}", 4, "dtype 'f32'");
    refused("{" TENSOR("a", "F128", "[1]", "[0,16]") "}", 16, "dtype 'F128'");
    refused("{" TENSOR("a", "", "[1]", "[0,4]") "}", 4, "dtype ''");
}

static void rule_size_is_the_product_without_overflow(void **state)
{
    (void)state;
    refused("{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4, "hold 4 bytes, expected 8");
    refused("{" TENSOR("a", "F32", "[2]", "[0,12]") "}", 12, "hold 12 bytes, expected 8");
    refused("{" TENSOR("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, "overflows");
    refused("{" TENSOR("a", "U8", "[4611686018427387904]", "[0,0]") "}", 0, "overflows");
    refused("{" TENSOR("a", "F32", "[1073741825,4294967296]", "[0,4]") "}", 4, "overflows");
    refused("{" TENSOR("a", "U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "overflows");
    refused("{" TENSOR("a", "U8", "[99999999999999999999]", "[0,0]") "}", 0, "too big integer");
    refused("{" TENSOR("a", "U8", "[-1]", "[0,1]") "}", 1, "no negative number");
    refused("{" TENSOR("a", "U8", "[-1,-1]", "[0,1]") "}", 1, "no negative number");
    refused("{" TENSOR("a", "U8", "[-0]", "[0,0]") "}", 0, "no negative number");
    accepted("{" TENSOR("-\\\"-", "U8", "[0]", "[0,0]") "}", 0, 1);
    refused("{" TENSOR("a", "U8", "[1.0]", "[0,1]") "}", 1, "dimension 0 is a real number");
    refused("{" TENSOR("a", "U8", "[1e0]", "[0,1]") "}", 1, "dimension 0 is a real number");
    refused("{" TENSOR("a", "U8", "[null]", "[0,1]") "}", 1, "dimension 0 is null");
}

static void rule_elements_fill_whole_bytes(void **state)
{
    (void)state;
    accepted("{" TENSOR("a", "F4", "[2]", "[0,1]") "}", 1, 1);
    refused("{" TENSOR("a", "F4", "[3]", "[0,2]") "}", 2, "no whole number of bytes");
    refused("{" TENSOR("a", "F6_E2M3", "[1]", "[0,1]") "}", 1, "no whole number of bytes");
}

static void rule_no_hole_no_overlap_no_tail(void **state)
{
    (void)state;
    refused("{" TENSOR("a", "U8", "[1]", "[1,2]") "}", 2, "begins at byte 62, expected byte 61");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("b", "U8", "[1]", "[2,3]") "}", 3, "'b' begins at byte");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[1,3]") "}", 3, "'b' begins at byte");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[0,2]") "}", 2, "begins at byte");
    refused("{" TENSOR("a", "U8", "[0]", "[1,0]") "}", 1, "end at 0 before they begin at 1");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "}", 3, "but the file ends at byte");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "}", 1, "but the file ends at byte");
    refused("{}", 1, "but the file ends at byte 11");
    refused("{" TENSOR("a", "U8", "[0]", "[9223372036854775807,9223372036854775807]") "}", 0, "begins at byte");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("b", "U8", "[0]", "[2,2]") "}", 2, "begins at byte");
}

static void scalars_and_empty_tensors_are_valid(void **state)
{
    (void)state;
    accepted("{" TENSOR("a", "F64", "[]", "[0,8]") "}", 8, 1);
    accepted("{" TENSOR("z", "F32", "[0]", "[4,4]") "," TENSOR("y", "F32", "[3,0,2]", "[0,0]") "," TENSOR(
                 "a", "F32", "[1]", "[0,4]") "," TENSOR("", "F32", "[0]", "[0,0]") "}", 4, 4);
}

static void rank_has_a_limit(void **state)
{
    (void)state;
    accepted("{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, 1);
    refused("{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "9 dimensions");
}

static void sentences_hold_no_control_characters(void **state)
{
    (void)state;
    struct bytes        file = make_file("{" TENSOR("a\\n\\u001b[1m", "U8", "[2]", "[0,1]") "}", 1);
    struct safetensors *model;
    struct error        error;
    assert_int_equal(open_bytes(&file, &model, &error), STATUS_MODEL);
    assert_non_null(strstr(error.message, "'a??[1m'"));
    free(file.at);
}

/* Touches all that an accepted file offers. */
static unsigned read_all(const struct safetensors *model)
{
    unsigned sum = 0;
    for (size_t i = 0; i < safetensors_count(model); i++) {
        const struct tensor_view *view = safetensors_at(model, i);
        assert_ptr_equal(safetensors_find(model, view->name), view);
        for (uint64_t at = 0; at < view->bytes; at++)
            sum += ((const unsigned char *)view->data)[at];
    }
    return sum;
}

static void cut_at_every_byte_is_refused(void **state)
{
    (void)state;
    struct bytes whole = make_file(golden, GOLDEN_DATA);
    for (size_t length = 0; length < whole.length; length++) {
        struct bytes cut = {malloc(length), length};
        memcpy(cut.at, whole.at, length);
        refused_bytes(cut, "");
    }
    free(whole.at);
}

static void every_flipped_bit_is_refused_or_read_rightly(void **state)
{
    (void)state;
    struct bytes file = make_file(golden, GOLDEN_DATA);
    int          accepted_flips = 0, refused_flips = 0;
    for (size_t bit = 0; bit < 8 * (file.length - GOLDEN_DATA); bit++) {
        struct safetensors *model;
        struct error        error = {0};
        file.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
        status code = open_bytes(&file, &model, &error);
        file.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (code == STATUS_OK) {  /* another name, another element of the same size: still all 29 bytes, once each */
            accepted_flips++;
            assert_int_equal(read_all(model), GOLDEN_DATA * (GOLDEN_DATA - 1) / 2);
            safetensors_close(model);
        } else {
            refused_flips++;
            assert_int_equal(code, STATUS_MODEL);
            assert_true(strlen(error.message) > 20);
        }
    }
    print_message("bit flips: %d accepted, %d refused\n", accepted_flips, refused_flips);
    assert_true(refused_flips > 9 * accepted_flips);
    free(file.at);
}

static char *in_folder(const char *name)
{
    static char path[2][256];
    static int  turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *name, const void *bytes, size_t length)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void write_model(const char *name, const char *header, size_t data_bytes)
{
    struct bytes file = make_file(header, data_bytes);
    write_file(name, file.at, file.length);
    free(file.at);
}

static void refused_path(const char *name, status code, const char *part)
{
    struct safetensors *model;
    struct error        error = {0};
    assert_int_equal(safetensors_open(pool, in_folder(name), &model, &error), code);
    assert_null(model);
    if (!strstr(error.message, part))
        fail_msg("'%s' lacks '%s'", error.message, part);
}

static bool resident(const void *at)
{
    size_t        page = (size_t)sysconf(_SC_PAGESIZE), found = 0;
    unsigned long entry = 0;
    int           pagemap = open("/proc/self/pagemap", O_RDONLY);
    if (pagemap >= 0)
        found = (size_t)pread(pagemap, &entry, 8, (off_t)((uintptr_t)at / page * 8));
    close(pagemap);
    assert_int_equal(found, 8);
    return entry >> 63;
}

static void a_mapped_file_is_read_and_dropped(void **state)
{
    (void)state;
    write_model("big.safetensors", "{" TENSOR("a", "U8", "[1048576]", "[0,1048576]") "}", 1048576);
    struct safetensors *model;
    struct error        error;
    assert_int_equal(safetensors_open(pool, in_folder("big.safetensors"), &model, &error), STATUS_OK);
    const struct tensor_view *view = safetensors_find(model, "a");
    safetensors_fetch(model, view->data, view->bytes);
    unsigned before = read_all(model);
    assert_true(resident((const char *)view->data + 524288));
    safetensors_drop(model, view->data, view->bytes);
    assert_false(resident((const char *)view->data + 524288));
    assert_int_equal(read_all(model), before);
    struct pool_usage usage;
    pool_usage(pool, &usage);
    assert_true(usage.in_use > 0 && usage.in_use < 4096);  /* the table, not the file */
    safetensors_close(model);
    remove(in_folder("big.safetensors"));
}

static void files_that_are_none_are_refused(void **state)
{
    (void)state;
    refused_path("absent.safetensors", STATUS_MODEL, "no such file");
    refused_path("", STATUS_IO, "a folder");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    refused_path("pipe", STATUS_IO, "expected a regular file");
    remove(in_folder("pipe"));
    write_file("empty", "", 0);
    refused_path("empty", STATUS_MODEL, "0 bytes");
    remove(in_folder("empty"));
    write_file("short", "\5\0\0", 3);
    refused_path("short", STATUS_MODEL, "3 bytes");
    remove(in_folder("short"));
}

static void shards_are_merged_by_name(void **state)
{
    (void)state;
    write_model("1.safetensors", "{" TENSOR("b", "U8", "[2]", "[0,2]") "," TENSOR("unlisted", "U8", "[1]", "[2,3]") "}", 3);
    write_model("2.safetensors", "{" TENSOR("a", "U8", "[3]", "[0,3]") "," TENSOR("c", "U8", "[1]", "[3,4]") "}", 4);
    static const char index[] = "{\"metadata\":{\"total_size\":6},\"weight_map\":{\"c\":\"2.safetensors\","
                                "\"b\":\"1.safetensors\",\"a\":\"2.safetensors\"}}";
    write_file("i.json", index, sizeof index - 1);
    struct safetensors *model;
    struct error        error;
    assert_int_equal(safetensors_open(pool, in_folder("i.json"), &model, &error), STATUS_OK);
    assert_int_equal(safetensors_count(model), 3);
    assert_string_equal(safetensors_at(model, 0)->name, "a");
    assert_string_equal(safetensors_at(model, 1)->name, "b");
    assert_int_equal(safetensors_find(model, "b")->bytes, 2);
    assert_int_equal(*(const char *)safetensors_find(model, "c")->data, 3);
    assert_null(safetensors_find(model, "unlisted"));
    safetensors_close(model);
}

static void refused_index(const char *text, status code, const char *part)
{
    write_file("i.json", text, strlen(text));
    refused_path("i.json", code, part);
}

static void an_index_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    refused_index("{}", STATUS_MODEL, "weight_map is absent");
    refused_index("{\"weight_map\":[]}", STATUS_MODEL, "weight_map is an array");
    refused_index("{\"weight_map\":{\"a\":1}}", STATUS_MODEL, "the file of 'a' is an integer");
    refused_index("{\"weight_map\":{\"z\":\"2.safetensors\"}}", STATUS_MODEL, "tensor 'z' into '2.safetensors'");
    refused_index("{\"weight_map\":{\"a\":\"3.safetensors\"}}", STATUS_MODEL, "3.safetensors: there is no such file");
    refused_index("{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"i.json\"}}", STATUS_MODEL, "i.json: byte 0");
    refused_index("{\"weight_map\":{\"a\":\".\"}}", STATUS_IO, "a folder");
    static const char *const outside[] = {"", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "./../x"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", outside[i]);
        refused_index(text, STATUS_MODEL, "inside the index's folder");
    }
    refused_index("{\"weight_map\":{\"a\":\"..x/y\"}}", STATUS_MODEL, "no such file");
    remove(in_folder("i.json"));
    remove(in_folder("1.safetensors"));
    remove(in_folder("2.safetensors"));
}

/* Every budget from none to enough: the refusal is clean at each booking on the way. */
static void a_small_budget_refuses_cleanly(void **state)
{
    (void)state;
    struct bytes file = make_file(golden, GOLDEN_DATA);
    int          refusals = 0, openings = 0;
    for (uint64_t ceiling = 1; ceiling < 16384; ceiling += 64) {
        struct pool        *small;
        struct safetensors *model;
        struct pool_usage   usage;
        assert_int_equal(pool_open(&small, ceiling, NULL), STATUS_OK);
        status code = safetensors_open_memory(small, file.at, file.length, "m", &model, NULL);
        assert_true(code == STATUS_OK || code == STATUS_BUDGET);
        refusals += code == STATUS_BUDGET;
        openings += code == STATUS_OK;
        safetensors_close(model);
        pool_usage(small, &usage);
        assert_int_equal(usage.in_use, 0);
        pool_close(small);
    }
    assert_true(refusals > 0 && openings > 0);
    free(file.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_sorted_and_point_into_the_file),
        cmocka_unit_test(rule_length_is_there_and_inside_the_file),
        cmocka_unit_test(rule_header_is_at_most_100000000_bytes),
        cmocka_unit_test(rule_header_begins_with_a_brace_and_ends_with_spaces_only),
        cmocka_unit_test(rule_json_is_strict_and_utf8),
        cmocka_unit_test(rule_no_key_twice),
        cmocka_unit_test(rule_metadata_maps_strings_to_strings),
        cmocka_unit_test(rule_three_fields_of_the_right_kind),
        cmocka_unit_test(rule_dtype_is_one_of_the_list),
        cmocka_unit_test(rule_size_is_the_product_without_overflow),
        cmocka_unit_test(rule_elements_fill_whole_bytes),
        cmocka_unit_test(rule_no_hole_no_overlap_no_tail),
        cmocka_unit_test(scalars_and_empty_tensors_are_valid),
        cmocka_unit_test(rank_has_a_limit),
        cmocka_unit_test(sentences_hold_no_control_characters),
        cmocka_unit_test(cut_at_every_byte_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused_or_read_rightly),
        cmocka_unit_test(a_mapped_file_is_read_and_dropped),
        cmocka_unit_test(files_that_are_none_are_refused),
        cmocka_unit_test(shards_are_merged_by_name),
        cmocka_unit_test(an_index_that_does_not_fit_is_refused),
        cmocka_unit_test(a_small_budget_refuses_cleanly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
