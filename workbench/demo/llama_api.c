/* Finding a real llama.cpp in a folder of libraries, and its structs of parameters. */
#include "llama_api.h"

#include <dlfcn.h>
#include <fnmatch.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the fields we set lie, in every release since llama_memory_clear came (2025-06). */
enum context_field { CONTEXT_N_CTX = 0, CONTEXT_N_BATCH = 4, CONTEXT_N_UBATCH = 8, CONTEXT_ENUMS_FROM = 12 };

#define IMPORT(name) {#name, offsetof(struct llama_api, name)}
static const struct {
    const char *name;
    size_t offset;
} IMPORTS[] = {
    IMPORT(ggml_backend_load),
    IMPORT(ggml_backend_dev_count),
    IMPORT(ggml_backend_dev_get),
    IMPORT(ggml_backend_dev_name),
    IMPORT(ggml_backend_dev_description),
    IMPORT(ggml_backend_dev_memory),
    IMPORT(llama_print_system_info),
    IMPORT(llama_backend_init),
    IMPORT(llama_backend_free),
    IMPORT(llama_model_default_params),
    IMPORT(llama_context_default_params),
    IMPORT(llama_model_load_from_file),
    IMPORT(llama_model_free),
    IMPORT(llama_init_from_model),
    IMPORT(llama_free),
    IMPORT(llama_set_n_threads),
    IMPORT(llama_decode),
    IMPORT(llama_batch_get_one),
    IMPORT(llama_get_logits_ith),
    IMPORT(llama_model_get_vocab),
    IMPORT(llama_vocab_n_tokens),
    IMPORT(llama_tokenize),
    IMPORT(llama_get_memory),
    IMPORT(llama_memory_clear),
};

/* Is `name` what a build of llama.cpp calls `stem`? libllama.so, libllama.so.0.7.0,
 * libllama.cuda.v0.5.0.so and, as auditwheel renames it, libllama-e4014eb7.so.0.7.0; but not
 * libllama-common.so. */
static bool is_build_of(const char *name, const char *stem) {
    static const char *const ENDINGS[] = {".so", ".so.*", ".*.so", "-????????.so", "-????????.so.*"};
    char pattern[128];
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        snprintf(pattern, sizeof pattern, "%s%s", stem, ENDINGS[i]);
        if (fnmatch(pattern, name, 0) == 0)
            return true;
    }
    return false;
}

/* The path of the library that is a build of `stem`, malloc'ed; NULL if there is none. */
char *find_library(const char *folder, const char *stem) {
    char pattern[4096];
    snprintf(pattern, sizeof pattern, "%s/%s*", folder, stem);
    glob_t found;
    char *path = NULL;
    if (glob(pattern, 0, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; i < found.gl_pathc && path == NULL; i++)
        if (is_build_of(strrchr(found.gl_pathv[i], '/') + 1, stem))
            path = strdup(found.gl_pathv[i]);
    globfree(&found);
    return path;
}

/* The CPU backend that suits this processor best: builds come in one or in a dozen variants, each of
 * which says by ggml_backend_score how good it is here, 0 if it cannot run. */
char *find_cpu_backend(const char *folder) {
    char pattern[4096];
    snprintf(pattern, sizeof pattern, "%s/libggml-cpu*.so*", folder);
    glob_t found;
    char *best = NULL;
    int best_score = 0;
    if (glob(pattern, 0, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        void *library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            continue;
        int (*score)(void) = (int (*)(void))dlsym(library, "ggml_backend_score");
        int here = score != NULL ? score() : 1;
        if (here > best_score) {
            free(best);
            best = strdup(found.gl_pathv[i]);
            best_score = here;
        }
        dlclose(library);
    }
    globfree(&found);
    return best;
}

/* Opens libllama, which brings libggml and libggml-base along, and looks up what we call. */
bool open_llama(const char *folder, struct llama_api *api) {
    char *path = find_library(folder, "libllama");
    if (path == NULL) {
        fprintf(stderr, "shimbench-llama: no libllama in %s\n", folder);
        return false;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    free(path);
    if (library == NULL) {
        fprintf(stderr, "shimbench-llama: %s\n", dlerror());
        return false;
    }
    for (size_t i = 0; i < sizeof IMPORTS / sizeof *IMPORTS; i++) {
        void *function = dlsym(library, IMPORTS[i].name);
        if (function == NULL) {
            fprintf(stderr, "shimbench-llama: %s\n", dlerror());
            return false;
        }
        memcpy((char *)api + IMPORTS[i].offset, &function, sizeof function);
    }
    return true;
}

static int32_t get_field(const struct parameters *parameters, size_t offset) {
    int32_t value;
    memcpy(&value, parameters->bytes + offset, sizeof value);
    return value;
}

static void set_field(struct parameters *parameters, size_t offset, int32_t value) {
    memcpy(parameters->bytes + offset, &value, sizeof value);
}

/* The number of layers for the GPU is told by what follows it: split_mode, by default 1 (layers), and
 * main_gpu, 0 or -1. One pointer stands before it or two; its default has been 0, 999 and -1. 0: it is not
 * there.
 */
static size_t gpu_layers_field(const struct parameters *parameters) {
    for (size_t offset = 8; offset <= 24; offset += 8) {
        int32_t layers = get_field(parameters, offset), main_gpu = get_field(parameters, offset + 8);
        if ((layers == 0 || layers == 999 || layers == -1) && get_field(parameters, offset + 4) == 1 &&
            (main_gpu == 0 || main_gpu == -1))
            return offset;
    }
    return 0;
}

/* llama.cpp's defaults, all layers on the GPU unless said otherwise; false if this release lays the
 * struct out in a way we don't know. */
bool model_parameters(const struct llama_api *api, int gpu_layers, struct parameters *parameters) {
    *parameters = api->llama_model_default_params();
    size_t offset = gpu_layers_field(parameters);
    if (offset == 0) {
        fprintf(stderr, "shimbench-llama: llama_model_params has no n_gpu_layers where we look\n");
        return false;
    }
    set_field(parameters, offset, gpu_layers < 0 ? 999 : gpu_layers);
    return true;
}

/* Flash attention is the last of four enums in a row that are all -1 by default; 0: they are not there. */
static size_t flash_attention_field(const struct parameters *parameters) {
    int in_a_row = 0;
    for (size_t offset = CONTEXT_ENUMS_FROM; offset < CONTEXT_ENUMS_FROM + 64; offset += 4) {
        in_a_row = get_field(parameters, offset) == -1 ? in_a_row + 1 : 0;
        if (in_a_row == 4)
            return offset;
    }
    return 0;
}

/* A context just big enough for the prompt and what follows. */
bool context_parameters(const struct llama_api *api, int length, enum flash_attention flash_attention,
                        struct parameters *parameters) {
    *parameters = api->llama_context_default_params();
    if (get_field(parameters, CONTEXT_N_CTX) != 512 || get_field(parameters, CONTEXT_N_BATCH) != 2048 ||
        get_field(parameters, CONTEXT_N_UBATCH) != 512) {
        fprintf(stderr, "shimbench-llama: unknown layout of llama_context_params\n");
        return false;
    }
    if (flash_attention != FLASH_ATTENTION_AUTO) {
        size_t offset = flash_attention_field(parameters);
        if (offset == 0) {
            fprintf(stderr, "shimbench-llama: llama_context_params has no flash_attn_type where we look\n");
            return false;
        }
        set_field(parameters, offset, flash_attention);
    }
    set_field(parameters, CONTEXT_N_CTX, length);
    set_field(parameters, CONTEXT_N_BATCH, length < 512 ? length : 512);
    set_field(parameters, CONTEXT_N_UBATCH, length < 512 ? length : 512);
    return true;
}
