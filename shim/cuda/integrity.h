/* The answer to the runtime's start-up self-test. */
#ifndef SHIMBENCH_CUDA_INTEGRITY_H
#define SHIMBENCH_CUDA_INTEGRITY_H

#include <stdint.h>

/* What the self-test covers, in the order in which it is hashed. */
struct integrity_subject {
    uint32_t driver_version;
    uint32_t version; /* the runtime's, plus 0, 1 or 2 */
    uint32_t process;
    uint32_t thread;              /* low half of pthread_self() */
    const void *cudart_interface; /* the address of table 6bd5fb6c */
    const void *integrity_check;  /* of table d4082055 */
    const void *function;         /* of its slot 1 */
    uint64_t seconds;
};

/* Then this, per device. */
struct integrity_device {
    uint8_t uuid[16];
    int32_t pci_domain;
    int32_t pci_bus;
    int32_t pci_device;
};

void integrity_answer(const struct integrity_subject *subject, const struct integrity_device *devices,
                      int count, uint64_t answer[2]);

#endif
