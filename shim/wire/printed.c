/* What kernels print, to this program's stdout where a driver brings it there: when the program has waited
 * for the device, before a blocking copy returns, as a module or a context goes. At exit nothing is. */
#include <stdio.h>

#include "wire/barrier.h"
#include "wire/call.h"
#include "wire/state.h"

static uint32_t passing_on; /* a lock: two threads would mix the order */

static size_t fetch(char *text, size_t room) {
    struct wire_call call;
    uint64_t length = 0;
    if (wire_begin(&call, WIRE_FN_PRINTED, WIRE_BLOCKING, 0) != CUDA_SUCCESS)
        return 0;
    if (wire_ask(&call) == CUDA_SUCCESS) {
        wire_take(&call, &length, sizeof(length));
        if (length > room)
            length = 0;
        wire_take(&call, text, length);
    }
    wire_end(&call);
    return length;
}

void wire_pass_on_printed(void) {
    struct wire_state *state = wire_connection();
    if (!state || !load_acquire32(&state->region->printed))
        return;
    wire_lock(&passing_on);
    char text[WIRE_PRINTED_MAX];
    for (size_t length; (length = fetch(text, sizeof(text)));)
        fwrite(text, 1, length, stdout);
    wire_unlock(&passing_on);
}

void wire_keep_printed(size_t bytes) {
    struct wire_state *state = wire_connection();
    if (state)
        store_release32(&state->region->print_limit, bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes);
}
