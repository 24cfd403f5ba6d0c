/* shimbench-llama: loads a real llama.cpp out of a folder of libraries, as ggml loads it, and runs a
 * model on it. It is the demo's target and the tests' real consumer.
 *
 * It is built without llama.cpp's headers. Their structs of parameters differ from release to release
 * and are passed by value; here they are opaque blobs that llama.cpp itself fills with its defaults, and
 * the few fields we set are found by checking those defaults first.
 */
#include <dlfcn.h>
#include <fnmatch.h>
#include <getopt.h>
#include <glob.h>
#include <libgen.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Bigger than any of llama.cpp's parameter structs has been (72 to 160 bytes). Structs of this size are
 * passed on the stack, so the callee reads the first bytes and never sees the rest. */
struct parameters {
    unsigned char bytes[1024];
};

/* Where the fields we set lie, in every release since flash_attn_type came (2025-08). */
enum model_field { MODEL_GPU_LAYERS = 16 };
enum context_field { CONTEXT_N_CTX = 0, CONTEXT_N_BATCH = 4, CONTEXT_N_UBATCH = 8, CONTEXT_ENUMS_FROM = 12 };

/* llama.cpp's own numbers. */
enum flash_attention { FLASH_ATTENTION_AUTO = -1, FLASH_ATTENTION_OFF = 0, FLASH_ATTENTION_ON = 1 };

struct batch {
    int32_t n_tokens;
    int32_t *token;
    float *embd;
    int32_t *pos;
    int32_t *n_seq_id;
    int32_t **seq_id;
    int8_t *logits;
};

struct llama_api {
    void *(*ggml_backend_load)(const char *path);
    size_t (*ggml_backend_dev_count)(void);
    void *(*ggml_backend_dev_get)(size_t index);
    const char *(*ggml_backend_dev_name)(void *device);
    const char *(*ggml_backend_dev_description)(void *device);
    void (*ggml_backend_dev_memory)(void *device, size_t *free, size_t *total);
    void (*llama_backend_init)(void);
    void (*llama_backend_free)(void);
    struct parameters (*llama_model_default_params)(void);
    struct parameters (*llama_context_default_params)(void);
    void *(*llama_model_load_from_file)(const char *path, struct parameters parameters);
    void (*llama_model_free)(void *model);
    void *(*llama_init_from_model)(void *model, struct parameters parameters);
    void (*llama_free)(void *context);
    void (*llama_set_n_threads)(void *context, int32_t generation, int32_t batch);
    int32_t (*llama_decode)(void *context, struct batch batch);
    struct batch (*llama_batch_get_one)(int32_t *tokens, int32_t count);
    float *(*llama_get_logits_ith)(void *context, int32_t index);
    const void *(*llama_model_get_vocab)(const void *model);
    int32_t (*llama_vocab_n_tokens)(const void *vocab);
    int32_t (*llama_tokenize)(const void *vocab, const char *text, int32_t bytes, int32_t *tokens,
                              int32_t room, bool add_special, bool parse_special);
    void *(*llama_get_memory)(const void *context);
    void (*llama_memory_clear)(void *memory, bool data);
};

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

struct options {
    const char *libs;
    const char *model;
    const char *logits;
    const char *prompt; /* NULL: prompt_tokens tokens without a meaning */
    int tokens;
    int prompt_tokens;
    int gpu_layers; /* -1: all */
    int threads;    /* of the CPU backend */
    enum flash_attention flash_attention;
    double repeat; /* seconds */
    bool list_devices;
};

static const char USAGE[] =
    "usage: shimbench-llama --libs DIR [--list-devices | --model FILE ...]\n"
    "  --libs DIR          where libllama, libggml-cuda and libggml-cpu lie, under whatever names\n"
    "  --list-devices      load the backends, say which devices there are, and end\n"
    "  --model FILE        a GGUF model\n"
    "  --tokens N          decode N tokens, greedily (8)\n"
    "  --prompt-tokens N   after a prompt of N tokens (40)\n"
    "  --prompt TEXT       after this text, at most 512 tokens\n"
    "  --gpu-layers N      layers to put on the GPU, -1 all (-1); 0 leaves the CUDA backend out\n"
    "  --threads N         of the CPU backend (1)\n"
    "  --flash-attention auto|on|off   (auto: what llama.cpp chooses)\n"
    "  --repeat SECONDS    start over with the prompt until so much time has gone by (0)\n"
    "  --logits FILE       write the logits after the prompt and after each token, as 32-bit floats\n";

/* What all threads of this process have had of processors. */
static double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

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
static char *find_library(const char *folder, const char *stem) {
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
static char *find_cpu_backend(const char *folder) {
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
static bool open_llama(const char *folder, struct llama_api *api) {
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

/* Loads one backend, and says so; ggml itself says why one could not be loaded. */
static bool load_backend(const struct llama_api *api, char *path, const char *what) {
    if (path == NULL) {
        printf("backend %s: no such library\n", what);
        return false;
    }
    double start = now_seconds();
    bool loaded = api->ggml_backend_load(path) != NULL;
    printf("backend %s: %s %s, %.1f ms\n", what, loaded ? "loaded" : "failed to load", basename(path),
           (now_seconds() - start) * 1e3);
    free(path);
    return loaded;
}

static void print_devices(const struct llama_api *api) {
    size_t count = api->ggml_backend_dev_count();
    for (size_t i = 0; i < count; i++) {
        void *device = api->ggml_backend_dev_get(i);
        size_t free_bytes = 0, total_bytes = 0;
        api->ggml_backend_dev_memory(device, &free_bytes, &total_bytes);
        printf("device %s: %s (%zu MiB, %zu MiB free)\n", api->ggml_backend_dev_name(device),
               api->ggml_backend_dev_description(device), total_bytes >> 20, free_bytes >> 20);
    }
}

static int32_t get_field(const struct parameters *parameters, size_t offset) {
    int32_t value;
    memcpy(&value, parameters->bytes + offset, sizeof value);
    return value;
}

static void set_field(struct parameters *parameters, size_t offset, int32_t value) {
    memcpy(parameters->bytes + offset, &value, sizeof value);
}

/* llama.cpp's defaults, all layers on the GPU unless said otherwise; false if this release lays the
 * struct out in a way we don't know. */
static bool model_parameters(const struct llama_api *api, int gpu_layers, struct parameters *parameters) {
    *parameters = api->llama_model_default_params();
    int32_t layers = get_field(parameters, MODEL_GPU_LAYERS);
    if (layers != -1 && layers != 999) {
        fprintf(stderr, "shimbench-llama: unknown layout of llama_model_params (n_gpu_layers is %d)\n",
                layers);
        return false;
    }
    set_field(parameters, MODEL_GPU_LAYERS, gpu_layers < 0 ? 999 : gpu_layers);
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
static bool context_parameters(const struct llama_api *api, int length, enum flash_attention flash_attention,
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

enum { PROMPT_MAX = 512 }; /* tokens, which is also the size of a batch */

struct generation {
    const struct llama_api *api;
    void *context;
    int32_t vocabulary;
    FILE *logits;
    int32_t prompt[PROMPT_MAX];
    int32_t prompt_tokens;
};

/* What the answer is to: the text asked for, or tokens that every vocabulary has. */
static bool make_prompt(struct generation *generation, const struct options *options,
                        const void *vocabulary) {
    if (options->prompt == NULL) {
        generation->prompt_tokens = options->prompt_tokens;
        for (int i = 0; i < options->prompt_tokens; i++)
            generation->prompt[i] = 3 + (i * 7) % (generation->vocabulary - 3);
        return true;
    }
    generation->prompt_tokens =
        generation->api->llama_tokenize(vocabulary, options->prompt, (int32_t)strlen(options->prompt),
                                        generation->prompt, PROMPT_MAX, true, true);
    if (generation->prompt_tokens <= 0)
        fprintf(stderr, "shimbench-llama: the prompt has no tokens, or more than %d\n", PROMPT_MAX);
    return generation->prompt_tokens > 0;
}

/* Decodes `count` tokens and says which token comes next, the likeliest; -1 on an error. */
static int32_t decode(const struct generation *generation, int32_t *tokens, int32_t count) {
    const struct llama_api *api = generation->api;
    int32_t status = api->llama_decode(generation->context, api->llama_batch_get_one(tokens, count));
    if (status != 0) {
        fprintf(stderr, "shimbench-llama: llama_decode returned %d\n", status);
        return -1;
    }
    const float *logits = api->llama_get_logits_ith(generation->context, -1);
    if (logits == NULL) {
        fprintf(stderr, "shimbench-llama: no logits after llama_decode\n");
        return -1;
    }
    if (generation->logits != NULL)
        fwrite(logits, sizeof *logits, (size_t)generation->vocabulary, generation->logits);
    int32_t best = 0;
    for (int32_t token = 1; token < generation->vocabulary; token++)
        if (logits[token] > logits[best])
            best = token;
    return best;
}

/* One prompt and what the model says to it; false on an error. */
static bool generate(const struct generation *generation, const struct options *options) {
    const struct llama_api *api = generation->api;
    int32_t prompt[PROMPT_MAX]; /* llama.cpp may write to it */
    memcpy(prompt, generation->prompt, sizeof prompt);
    api->llama_memory_clear(api->llama_get_memory(generation->context), true);

    double start = now_seconds(), had = processor_seconds();
    int32_t token = decode(generation, prompt, generation->prompt_tokens);
    if (token < 0)
        return false;
    double prompt_had = processor_seconds() - had;
    printf("prompt: %d tokens, %.2f ms\n", generation->prompt_tokens, (now_seconds() - start) * 1e3);
    had = processor_seconds();
    for (int i = 1; i <= options->tokens; i++) {
        int32_t fed = token;
        start = now_seconds();
        token = decode(generation, &fed, 1);
        if (token < 0)
            return false;
        printf("token %d: %d -> %d, %.2f ms\n", i, fed, token, (now_seconds() - start) * 1e3);
    }
    printf("decoded %d tokens\n", options->tokens);
    printf("processors: %.3f ms for the prompt, %.3f ms for all tokens\n", prompt_had * 1e3,
           (processor_seconds() - had) * 1e3);
    return true;
}

static bool run_model(const struct llama_api *api, const struct options *options) {
    bool ok = false;
    struct generation generation = {.api = api};
    struct parameters parameters;
    void *model = NULL;
    double start = now_seconds();

    if (!model_parameters(api, options->gpu_layers, &parameters))
        goto out;
    model = api->llama_model_load_from_file(options->model, parameters);
    if (model == NULL) {
        fprintf(stderr, "shimbench-llama: %s did not load\n", options->model);
        goto out;
    }
    printf("model: %s, %.1f ms\n", options->model, (now_seconds() - start) * 1e3);
    const void *vocabulary = api->llama_model_get_vocab(model);
    generation.vocabulary = api->llama_vocab_n_tokens(vocabulary);
    if (!make_prompt(&generation, options, vocabulary))
        goto out;
    start = now_seconds();
    if (!context_parameters(api, generation.prompt_tokens + options->tokens + 1, options->flash_attention,
                            &parameters))
        goto out;
    generation.context = api->llama_init_from_model(model, parameters);
    if (generation.context == NULL) {
        fprintf(stderr, "shimbench-llama: no context for %s\n", options->model);
        goto out;
    }
    api->llama_set_n_threads(generation.context, options->threads, options->threads);
    printf("context: %.1f ms\n", (now_seconds() - start) * 1e3);
    if (options->logits != NULL && (generation.logits = fopen(options->logits, "wb")) == NULL) {
        perror(options->logits);
        goto out;
    }

    double end = now_seconds() + options->repeat;
    do
        ok = generate(&generation, options);
    while (ok && now_seconds() < end);
out:
    if (generation.logits != NULL && fclose(generation.logits) != 0) {
        perror(options->logits);
        ok = false;
    }
    if (generation.context != NULL)
        api->llama_free(generation.context);
    if (model != NULL)
        api->llama_model_free(model);
    return ok;
}

static int whole_number(const char *text, const char *option, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "shimbench-llama: --%s takes a number from %d to %d, not '%s'\n", option, least, most,
                text);
        exit(2);
    }
    return (int)value;
}

static enum flash_attention flash_attention_named(const char *word) {
    if (strcmp(word, "on") == 0)
        return FLASH_ATTENTION_ON;
    if (strcmp(word, "off") == 0)
        return FLASH_ATTENTION_OFF;
    if (strcmp(word, "auto") == 0)
        return FLASH_ATTENTION_AUTO;
    fprintf(stderr, "shimbench-llama: --flash-attention takes auto, on or off, not '%s'\n", word);
    exit(2);
}

static struct options parse_options(int count, char **words) {
    enum {
        LIBS = 1,
        MODEL,
        TOKENS,
        PROMPT,
        PROMPT_TOKENS,
        GPU_LAYERS,
        THREADS,
        FLASH,
        REPEAT,
        LOGITS,
        LIST_DEVICES,
        HELP
    };
    static const struct option LONG[] = {
        {"libs", required_argument, NULL, LIBS},
        {"model", required_argument, NULL, MODEL},
        {"tokens", required_argument, NULL, TOKENS},
        {"prompt", required_argument, NULL, PROMPT},
        {"prompt-tokens", required_argument, NULL, PROMPT_TOKENS},
        {"gpu-layers", required_argument, NULL, GPU_LAYERS},
        {"threads", required_argument, NULL, THREADS},
        {"flash-attention", required_argument, NULL, FLASH},
        {"repeat", required_argument, NULL, REPEAT},
        {"logits", required_argument, NULL, LOGITS},
        {"list-devices", no_argument, NULL, LIST_DEVICES},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    struct options options = {.tokens = 8,
                              .prompt_tokens = 40,
                              .gpu_layers = -1,
                              .threads = 1,
                              .flash_attention = FLASH_ATTENTION_AUTO};
    int option;
    while ((option = getopt_long(count, words, "", LONG, NULL)) != -1) {
        switch (option) {
        case LIBS:
            options.libs = optarg;
            break;
        case MODEL:
            options.model = optarg;
            break;
        case TOKENS:
            options.tokens = whole_number(optarg, "tokens", 0, 100000);
            break;
        case PROMPT:
            options.prompt = optarg;
            break;
        case PROMPT_TOKENS:
            options.prompt_tokens = whole_number(optarg, "prompt-tokens", 1, PROMPT_MAX);
            break;
        case GPU_LAYERS:
            options.gpu_layers = whole_number(optarg, "gpu-layers", -1, 998);
            break;
        case THREADS:
            options.threads = whole_number(optarg, "threads", 1, 1024);
            break;
        case FLASH:
            options.flash_attention = flash_attention_named(optarg);
            break;
        case REPEAT:
            options.repeat = whole_number(optarg, "repeat", 0, 1000000);
            break;
        case LOGITS:
            options.logits = optarg;
            break;
        case LIST_DEVICES:
            options.list_devices = true;
            break;
        case HELP:
            fputs(USAGE, stdout);
            exit(0);
        default:
            fputs(USAGE, stderr);
            exit(2);
        }
    }
    if (optind < count || options.libs == NULL || (options.model == NULL) != options.list_devices) {
        fputs(USAGE, stderr);
        exit(2);
    }
    return options;
}

int main(int count, char **words) {
    struct options options = parse_options(count, words);
    struct llama_api api;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!open_llama(options.libs, &api))
        return 1;
    /* As ggml_backend_load_all does: the GPU's first, so that its devices come first. */
    if (options.gpu_layers != 0)
        load_backend(&api, find_library(options.libs, "libggml-cuda"), "cuda");
    if (!load_backend(&api, find_cpu_backend(options.libs), "cpu"))
        return 1;
    print_devices(&api);
    if (options.list_devices)
        return 0;
    api.llama_backend_init();
    bool ok = run_model(&api, &options);
    api.llama_backend_free();
    return ok ? 0 : 1;
}
