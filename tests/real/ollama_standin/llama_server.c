/* A stand-in for llama.cpp's llama-server, as Ollama starts it: told apart from the real one by its line
 * "stand-in". It loads the same libraries in the same order (the CPU backend, then what GGML_BACKEND_PATH
 * names, through ggml_backend_load), prints the lines Ollama reads, and answers one kind of request.
 *
 *   llama-server --port N ...                  tells its devices and system_info, then waits to be killed
 *   llama-server --list-devices ...            tells its devices on stdout and ends
 *   llama-server --model FILE --port N ...     loads the model and decodes a few tokens a request
 *
 * The libraries lie in its own folder. The work on llama.cpp is the demo's, taken in whole. */
#define _GNU_SOURCE
#define main shimbench_llama_main
#include "../../../workbench/demo/llama.c"
#undef main

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *option_value(int count, char **words, const char *name) {
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(words[i], name) == 0)
            return words[i + 1];
    return NULL;
}

static bool has_option(int count, char **words, const char *name) {
    for (int i = 1; i < count; i++)
        if (strcmp(words[i], name) == 0)
            return true;
    return false;
}

static void tell_devices(const struct llama_api *api, FILE *to, const char *before) {
    for (size_t i = 0; i < api->ggml_backend_dev_count(); i++) {
        void *device = api->ggml_backend_dev_get(i);
        size_t free_bytes = 0, total_bytes = 0;
        if (strncmp(api->ggml_backend_dev_name(device), "CPU", 3) == 0)
            continue;
        api->ggml_backend_dev_memory(device, &free_bytes, &total_bytes);
        fprintf(to, "%s%s: %s (%zu MiB, %zu MiB free)\n", before, api->ggml_backend_dev_name(device),
                api->ggml_backend_dev_description(device), total_bytes >> 20, free_bytes >> 20);
    }
    fflush(to);
}

static int listen_on(int port) {
    int server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (server < 0 || bind(server, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server, 8) != 0) {
        perror("llama-server: listen");
        exit(1);
    }
    return server;
}

/* One request: whatever is asked, a prompt is decoded and tokens after it. It is read to its end, since
 * closing with unread bytes would reset the connection under the answer. */
static void answer(int client, const struct generation *generation, const struct options *options) {
    char request[65536];
    size_t have = 0;
    ssize_t count;
    while (have + 1 < sizeof request &&
           (count = read(client, request + have, sizeof request - 1 - have)) > 0) {
        have += (size_t)count;
        request[have] = '\0';
        const char *body = strstr(request, "\r\n\r\n"), *told = strcasestr(request, "content-length:");
        size_t length = told != NULL ? strtoul(told + strlen("content-length:"), NULL, 10) : 0;
        if (body != NULL && (size_t)(request + have - body - 4) >= length)
            break;
    }
    if (have == 0) /* only a knock at the port */
        return;
    bool ok = generate(generation, options);
    char body[128], head[256];
    int length = snprintf(body, sizeof body, "{\"tokens\": %d, \"stop\": true}", ok ? options->tokens : 0);
    int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
                        ok ? "200 OK" : "500 Failed", length);
    if (write(client, head, (size_t)size) != size || write(client, body, (size_t)length) != length)
        perror("llama-server: write");
}

static int serve(const struct llama_api *api, const struct options *options, int port) {
    struct parameters parameters;
    struct generation generation = {.api = api};
    fprintf(stderr, "srv    load_model: loading model '%s'\n", options->model);
    api->llama_backend_init();
    if (!model_parameters(api, options->gpu_layers, &parameters))
        return 1;
    void *model = api->llama_model_load_from_file(options->model, parameters);
    if (model == NULL)
        return 1;
    const void *vocabulary = api->llama_model_get_vocab(model);
    generation.vocabulary = api->llama_vocab_n_tokens(vocabulary);
    if (!make_prompt(&generation, options, vocabulary))
        return 1;
    if (!context_parameters(api, generation.prompt_tokens + options->tokens + 1, options->flash_attention,
                            &parameters))
        return 1;
    generation.context = api->llama_init_from_model(model, parameters);
    if (generation.context == NULL)
        return 1;
    api->llama_set_n_threads(generation.context, 1, 1);
    int server = listen_on(port), client;
    fprintf(stderr, "srv  llama_server: model loaded\nsrv  llama_server: listening on http://127.0.0.1:%d\n",
            port);
    while ((client = accept(server, NULL, NULL)) >= 0) {
        answer(client, &generation, options);
        close(client);
    }
    return 1;
}

int main(int count, char **words) {
    char folder[4096];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length <= 0)
        return 1;
    folder[length] = '\0';
    *strrchr(folder, '/') = '\0';
    setvbuf(stdout, NULL, _IOLBF, 0);
    fprintf(stderr, "build: stand-in of shimbench's tests, not llama.cpp's llama-server\n");

    struct llama_api api;
    if (!open_llama(folder, &api))
        return 1;
    char *cpu = find_cpu_backend(folder);
    if (cpu == NULL || api.ggml_backend_load(cpu) == NULL)
        return 1;
    const char *backend = getenv("GGML_BACKEND_PATH");
    bool gpu = backend != NULL && api.ggml_backend_load(backend) != NULL;

    if (has_option(count, words, "--list-devices")) {
        printf("Available devices:\n");
        tell_devices(&api, stdout, "  ");
        return 0;
    }
    const char *port = option_value(count, words, "--port"), *model = option_value(count, words, "--model");
    const char *layers = option_value(count, words, "-ngl");
    if (layers != NULL && !gpu)
        fprintf(stderr, "warning: no usable GPU found, --gpu-layers option will be ignored\n");
    struct options options = {.libs = folder,
                              .model = model,
                              .tokens = 4,
                              .prompt_tokens = 6,
                              .gpu_layers = gpu ? -1 : 0,
                              .flash_attention = FLASH_ATTENTION_AUTO};
    if (model != NULL)
        return serve(&api, &options, port != NULL ? atoi(port) : 0);
    tell_devices(&api, stderr, "cmn  common_param:   - ");
    fprintf(stderr, "cmn  common_param: system_info: n_threads = 1 | %s\n", api.llama_print_system_info());
    for (;;)
        pause();
}
