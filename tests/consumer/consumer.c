/* A program that uses recto beside its own copy of a library that is inside librecto.a. Prints one line; exits 0 if all went
 * well. Compiled as C and as C++. */
#include <recto.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    recto_engine *engine = NULL;
    recto_error   error  = RECTO_ERROR_INIT;
    if (recto_engine_open(&engine, NULL, &error) != RECTO_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    recto_engine_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    if (recto_engine_describe(engine, &info) != RECTO_OK)
        return 1;

    json_t *object = json_object();
    int     failed = !object || json_object_set_new(object, "version", json_string(recto_version())) != 0 ||
                 json_object_set_new(object, "device", json_string(info.device)) != 0 ||
                 json_dumpf(object, stdout, JSON_COMPACT | JSON_SORT_KEYS) != 0;
    puts("");
    json_decref(object);

    /* A model that is not there is an error with a sentence, from deep inside the archive. */
    recto_model *model = NULL;
    failed |= recto_model_open(engine, "./no-such-folder", NULL, &model, &error) != RECTO_E_MODEL || error.message[0] == '\0';
    recto_engine_close(engine);
    return failed;
}
