/* shimbench-llama: loads a real llama.cpp out of a folder of libraries, as ggml loads it, and runs a
 * model on it. It is the demo's target and the tests' real consumer. */
#include "llama_api.h"

#include <getopt.h>
#include <libgen.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    /* As llama.cpp's own programs do: what each backend was compiled for is in it. */
    fprintf(stderr, "system_info: n_threads = %d | %s\n", options.threads, api.llama_print_system_info());
    print_devices(&api);
    if (options.list_devices)
        return 0;
    api.llama_backend_init();
    bool ok = run_model(&api, &options);
    api.llama_backend_free();
    return ok ? 0 : 1;
}
