/* What shimbench-llama calls of llama.cpp, declared without its headers: their structs of parameters differ
 * from release to release and are passed by value; here they are opaque blobs that llama.cpp itself fills
 * with its defaults, and the few fields we set are found by checking those defaults first. */
#ifndef SHIMBENCH_LLAMA_API_H
#define SHIMBENCH_LLAMA_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bigger than any of llama.cpp's parameter structs has been (72 to 160 bytes). Structs of this size are
 * passed on the stack, so the callee reads the first bytes and never sees the rest. */
struct parameters {
    unsigned char bytes[1024];
};

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
    const char *(*llama_print_system_info)(void);
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

/* The path of the library in `folder` that is a build of `stem`, malloc'ed; NULL if there is none. */
char *find_library(const char *folder, const char *stem);

/* The CPU backend that suits this processor best, likewise. */
char *find_cpu_backend(const char *folder);

/* Opens libllama, which brings libggml and libggml-base along, and looks up what we call. */
bool open_llama(const char *folder, struct llama_api *api);

/* llama.cpp's defaults, all layers on the GPU unless said otherwise; false if this release lays the
 * struct out in a way we don't know. */
bool model_parameters(const struct llama_api *api, int gpu_layers, struct parameters *parameters);

/* A context just big enough for the prompt and what follows. */
bool context_parameters(const struct llama_api *api, int length, enum flash_attention flash_attention,
                        struct parameters *parameters);

#endif
