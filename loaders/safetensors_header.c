#include "loaders/safetensors_header.h"

#include "loaders/json.h"
#include "loaders/sort.h"

#include <inttypes.h>
#include <string.h>

#define NAME "'%.160s'"  /* a name may be as long as the header: enough of it to find it */

/* Where a sentence happens. */
struct place {
    const char   *file;
    const char   *tensor;
    struct error *error;
};

status safetensors_header_length(const unsigned char prefix[SAFETENSORS_PREFIX], uint64_t file_bytes, const char *file,
                                 uint64_t *length, struct error *error)
{
    if (file_bytes < SAFETENSORS_PREFIX)
        return error_set(error, STATUS_MODEL,
                         "safetensors: %s: the file has %" PRIu64 " bytes, expected 8 bytes of header length at byte 0",
                         file, file_bytes);
    uint64_t found = 0;
    for (int i = SAFETENSORS_PREFIX; i-- > 0;)
        found = found << 8 | prefix[i];
    if (found > SAFETENSORS_HEADER_MAX)
        return error_set(error, STATUS_MODEL,
                         "safetensors: %s: byte 0: the header claims %" PRIu64 " bytes, more than the %d allowed", file,
                         found, SAFETENSORS_HEADER_MAX);
    if (found > file_bytes - SAFETENSORS_PREFIX)
        return error_set(error, STATUS_MODEL,
                         "safetensors: %s: byte 0: the header claims %" PRIu64 " bytes, but the file ends at byte %" PRIu64,
                         file, found, file_bytes);
    *length = found;
    return STATUS_OK;
}

/* What the JSON grammar leaves open: the first byte, the padding, and a minus sign (the JSON library reads -0 as 0). */
static status check_text(const char *header, size_t length, const struct place *place)
{
    if (length == 0 || header[0] != '{')
        return error_set(place->error, STATUS_MODEL, "safetensors: %s: byte 8: expected '{' as the header's first byte",
                         place->file);
    size_t end = length;
    while (header[end - 1] == ' ')
        end--;
    if (header[end - 1] != '}')
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: byte %zu: expected '}' as the header's last byte but for spaces", place->file,
                         SAFETENSORS_PREFIX + end - 1);
    int in_string = 0;
    for (size_t at = 0; at < end; at++) {
        if (header[at] == '"')
            in_string = !in_string;
        else if (header[at] == '\\')
            at++;
        else if (header[at] == '-' && !in_string)
            return error_set(place->error, STATUS_MODEL, "safetensors: %s: byte %zu: expected no negative number",
                             place->file, SAFETENSORS_PREFIX + at);
    }
    return STATUS_OK;
}

static status check_metadata(const struct json *metadata, const struct place *place)
{
    if (json_kind(metadata) != JSON_KIND_OBJECT)
        return error_set(place->error, STATUS_MODEL, "safetensors: %s: __metadata__ is %s, expected an object of strings",
                         place->file, json_kind_name(json_kind(metadata)));
    struct json_iterator entry = {0};
    while (json_next(metadata, &entry))
        if (json_kind(entry.value) != JSON_KIND_STRING)
            return error_set(place->error, STATUS_MODEL, "safetensors: %s: __metadata__ " NAME " is %s, expected a string",
                             place->file, entry.key, json_kind_name(json_kind(entry.value)));
    return STATUS_OK;
}

static status check_fields(const struct json *entry, const struct place *place)
{
    if (json_kind(entry) != JSON_KIND_OBJECT)
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: tensor " NAME " is %s, expected an object with dtype, shape and data_offsets",
                         place->file, place->tensor, json_kind_name(json_kind(entry)));
    struct json_iterator field = {0};
    while (json_next(entry, &field))
        if (strcmp(field.key, "dtype") != 0 && strcmp(field.key, "shape") != 0 && strcmp(field.key, "data_offsets") != 0)
            return error_set(place->error, STATUS_MODEL,
                             "safetensors: %s: tensor " NAME " has a field " NAME ", expected dtype, shape, data_offsets",
                             place->file, place->tensor, field.key);
    return STATUS_OK;
}

static status read_dtype(const struct json *entry, const struct place *place, struct tensor_view *view)
{
    const struct json *value = json_member(entry, "dtype");
    const char        *name = json_as_string(value, NULL);
    if (!name)
        return error_set(place->error, STATUS_MODEL, "safetensors: %s: tensor " NAME ": dtype is %s, expected a string",
                         place->file, place->tensor, json_kind_name(json_kind(value)));
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(name, dtype_name((enum dtype)i)) == 0) {
            view->dtype = (enum dtype)i;
            return STATUS_OK;
        }
    return error_set(place->error, STATUS_MODEL,
                     "safetensors: %s: tensor " NAME ": dtype '%.40s' is none that the format has", place->file,
                     place->tensor, name);
}

static status read_shape(const struct json *entry, const struct place *place, struct tensor_view *view)
{
    const struct json *shape = json_member(entry, "shape");
    if (json_kind(shape) != JSON_KIND_ARRAY)
        return error_set(place->error, STATUS_MODEL, "safetensors: %s: tensor " NAME ": shape is %s, expected an array",
                         place->file, place->tensor, json_kind_name(json_kind(shape)));
    size_t rank = json_array_length(shape);
    if (rank > TENSOR_RANK_MAX)
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: tensor " NAME ": shape has %zu dimensions, expected at most %d", place->file,
                         place->tensor, rank, TENSOR_RANK_MAX);
    view->rank = (int)rank;
    for (size_t i = 0; i < rank; i++)
        if (!json_as_integer(json_array_at(shape, i), &view->shape[i]))
            return error_set(place->error, STATUS_MODEL,
                             "safetensors: %s: tensor " NAME ": dimension %zu is %s, expected an integer", place->file,
                             place->tensor, i, json_kind_name(json_kind(json_array_at(shape, i))));
    return STATUS_OK;
}

/* Bytes that the shape asks for. Multiplied in file order without overflow; a 0 later does not excuse an overflow
 * before it. */
static status size_of_shape(const struct place *place, const struct tensor_view *view, uint64_t *bytes)
{
    uint64_t bits = 1;
    int      overflow = 0;
    for (int i = 0; i < view->rank; i++)
        overflow |= __builtin_mul_overflow(bits, (uint64_t)view->shape[i], &bits);
    overflow |= __builtin_mul_overflow(bits, (uint64_t)dtype_bits(view->dtype), &bits);
    if (overflow)
        return error_set(place->error, STATUS_MODEL, "safetensors: %s: tensor " NAME ": its shape overflows 64 bits",
                         place->file, place->tensor);
    if (bits % 8 != 0)
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: tensor " NAME ": %" PRIu64 " bits of %s are no whole number of bytes",
                         place->file, place->tensor, bits, dtype_name(view->dtype));
    *bytes = bits / 8;
    return STATUS_OK;
}

/* The offsets, still counted from the first byte behind the header. */
static status read_offsets(const struct json *entry, const struct place *place, struct tensor_view *view)
{
    const struct json *offsets = json_member(entry, "data_offsets");
    int64_t            begin, end;
    if (json_array_length(offsets) != 2 || !json_as_integer(json_array_at(offsets, 0), &begin) ||
        !json_as_integer(json_array_at(offsets, 1), &end))
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: tensor " NAME ": data_offsets is not an array of two integers", place->file,
                         place->tensor);
    if (end < begin)
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: tensor " NAME ": data_offsets end at %" PRId64 " before they begin at %" PRId64,
                         place->file, place->tensor, end, begin);
    uint64_t expected = 0;
    status   code = size_of_shape(place, view, &expected);
    if (code != STATUS_OK)
        return code;
    view->file_offset = (uint64_t)begin;
    view->bytes = (uint64_t)(end - begin);
    if (view->bytes == expected)
        return STATUS_OK;
    return error_set(place->error, STATUS_MODEL,
                     "safetensors: %s: tensor " NAME ": data_offsets hold %" PRIu64 " bytes, expected %" PRIu64
                     " from its shape and dtype",
                     place->file, place->tensor, view->bytes, expected);
}

static status read_tensor(const struct json *entry, const struct place *place, struct tensor_view *view)
{
    status code = check_fields(entry, place);
    if (code == STATUS_OK)
        code = read_dtype(entry, place, view);
    if (code == STATUS_OK)
        code = read_shape(entry, place, view);
    return code == STATUS_OK ? read_offsets(entry, place, view) : code;
}

static int by_offset(const void *left, const void *right)
{
    const struct tensor_view *a = left, *b = right;
    if (a->file_offset != b->file_offset)
        return a->file_offset < b->file_offset ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);  /* tensors of no bytes before the one that begins there */
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct tensor_view *)left)->name, ((const struct tensor_view *)right)->name);
}

void safetensors_table_sort(struct safetensors_table *table)
{
    sort_in_place(table->tensors, table->count, sizeof *table->tensors, by_name);
}

/* Sorted by offset, each tensor begins where the one before it ended and the last ends with the file. */
static status check_cover(struct safetensors_table *table, uint64_t data_begin, uint64_t file_bytes, struct place *place)
{
    uint64_t at = data_begin;
    sort_in_place(table->tensors, table->count, sizeof *table->tensors, by_offset);
    for (size_t i = 0; i < table->count; i++) {
        struct tensor_view *view = &table->tensors[i];
        view->file_offset += data_begin;  /* no overflow: both are below 2^63 */
        if (view->file_offset != at)
            return error_set(place->error, STATUS_MODEL,
                             "safetensors: %s: tensor " NAME " begins at byte %" PRIu64 ", expected byte %" PRIu64
                             " where the tensor before it ends",
                             place->file, view->name, view->file_offset, at);
        at += view->bytes;
    }
    if (at != file_bytes)
        return error_set(place->error, STATUS_MODEL,
                         "safetensors: %s: the tensors end at byte %" PRIu64 ", but the file ends at byte %" PRIu64,
                         place->file, at, file_bytes);
    return STATUS_OK;
}

/* One block for the views and, behind them, the file's name and the tensors'. */
static status take_table(struct pool *pool, const struct json *root, const char *file, struct safetensors_table *table,
                         char **names, struct error *error)
{
    size_t               tensors = json_object_length(root), name_bytes = strlen(file) + 1;
    struct json_iterator entry = {0};
    while (json_next(root, &entry))
        name_bytes += entry.key_length + 1;
    void  *block;
    status code = pool_alloc(pool, MEMORY_LOAD, tensors * sizeof(struct tensor_view) + name_bytes,
                             "the table of a safetensors file", &block, error);
    if (code != STATUS_OK)
        return code;
    table->tensors = block;
    table->count = 0;
    *names = (char *)(table->tensors + tensors);
    return STATUS_OK;
}

static status fill_table(const struct json *root, struct place *place, char *names, struct safetensors_table *table)
{
    struct json_iterator entry = {0};
    const char          *file = memcpy(names, place->file, strlen(place->file) + 1);
    names += strlen(file) + 1;
    while (json_next(root, &entry)) {
        status code;
        if (strcmp(entry.key, "__metadata__") == 0) {
            code = check_metadata(entry.value, place);
        } else {
            struct tensor_view *view = &table->tensors[table->count++];
            *view = (struct tensor_view){.name = memcpy(names, entry.key, entry.key_length + 1), .file = file};
            names += entry.key_length + 1;
            place->tensor = view->name;
            code = read_tensor(entry.value, place, view);
        }
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status read_document(struct pool *pool, const struct json *root, uint64_t data_begin, uint64_t file_bytes,
                            struct place *place, struct safetensors_table *table)
{
    char  *names;
    status code = take_table(pool, root, place->file, table, &names, place->error);
    if (code != STATUS_OK)
        return code;
    code = fill_table(root, place, names, table);
    if (code == STATUS_OK)
        code = check_cover(table, data_begin, file_bytes, place);
    if (code != STATUS_OK) {
        pool_free(pool, table->tensors);
        *table = (struct safetensors_table){0};
        return code;
    }
    safetensors_table_sort(table);
    return STATUS_OK;
}

void safetensors_make_printable(struct error *error)
{
    if (!error)
        return;
    for (char *at = error->message; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
}

status safetensors_header_read(struct pool *pool, const char *header, size_t length, uint64_t file_bytes,
                               const char *file, struct safetensors_table *table, struct error *error)
{
    struct place place = {.file = file, .error = error};
    *table = (struct safetensors_table){0};
    status code = check_text(header, length, &place);
    if (code != STATUS_OK)
        return code;
    struct json_document *document;
    code = json_parse(pool, header, length, file, &document, error);
    if (code != STATUS_OK) {
        error_prefix(error, "safetensors: the header (byte 8 to %zu)", SAFETENSORS_PREFIX + length);
        return code;
    }
    code = read_document(pool, json_root(document), SAFETENSORS_PREFIX + length, file_bytes, &place, table);
    json_free(document);
    if (code != STATUS_OK)
        safetensors_make_printable(error);
    return code;
}

const struct tensor_view *safetensors_table_find(const struct safetensors_table *table, const char *name)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int    order = strcmp(name, table->tensors[middle].name);
        if (order == 0)
            return &table->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
