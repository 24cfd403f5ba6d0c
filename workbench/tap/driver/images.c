/* How long a module's image is: it carries its length itself, as a fatbin, an ELF file or text. Read as
 * something that may not be there. */
#include <string.h>

#include "driver.h"

enum {
    FATBIN_WRAPPER = 0x466243b1, /* {magic, version, pointer to the fatbin, ...} */
    WRAPPER_SIZE = 24,
    LONGEST_TEXT = 64 << 20,
};
static const uint32_t fatbin_magic = 0xba55ed50u, elf_magic = 0x464c457fu;

struct fatbin_head {
    uint32_t magic;
    uint16_t version, head_size;
    uint64_t size; /* behind the head */
};

struct elf_head {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t size, program_header_size, program_header_count, section_header_size, section_header_count;
    uint16_t names;
};

struct elf_section {
    uint32_t name, type;
    uint64_t flags, address, offset, size;
    uint32_t link, info;
    uint64_t alignment, entry_size;
};

static bool read_at(void *to, uint64_t from, size_t size) {
    return shimbench_copy_safely(to, from, size) == size;
}

/* The end of what lies last: the section headers, or a section. */
static uint64_t elf_length(uint64_t image) {
    enum { NO_BITS = 8 };
    struct elf_head head;
    struct elf_section section;
    if (!read_at(&head, image, sizeof head) || head.section_header_size != sizeof section)
        return 0;
    uint64_t end = head.section_headers + (uint64_t)head.section_header_count * sizeof section;
    for (uint32_t i = 0; i < head.section_header_count; i++) {
        if (!read_at(&section, image + head.section_headers + i * sizeof section, sizeof section))
            return 0;
        uint64_t here = section.offset + section.size;
        if (section.type != NO_BITS && here > end && here >= section.offset)
            end = here;
    }
    return end;
}

static uint64_t text_length(uint64_t text) {
    char page[4096];
    for (uint64_t length = 0; length < LONGEST_TEXT;) {
        size_t got = shimbench_copy_safely(page, text + length, sizeof page);
        size_t ended = strnlen(page, got);
        if (ended < got)
            return length + ended + 1;
        if (got < sizeof page)
            return 0;
        length += got;
    }
    return 0;
}

/* A wrapper is put by itself, and what it points to as the buffer. */
void tap_put_image(struct tap_payload *payload, uint8_t index, uint64_t image) {
    uint32_t magic = 0;
    struct fatbin_head fatbin;
    uint64_t inner;
    if (!read_at(&magic, image, sizeof magic))
        return;
    if (magic == FATBIN_WRAPPER) {
        if (!read_at(&inner, image + 8, sizeof inner) || !read_at(&magic, inner, sizeof magic))
            return;
        shimbench_put_safely(payload, TAP_ITEM_IN, index, image, WRAPPER_SIZE);
        image = inner;
    }
    uint64_t length = 0;
    if (magic == fatbin_magic && read_at(&fatbin, image, sizeof fatbin))
        length = fatbin.head_size + fatbin.size;
    else if (magic == elf_magic)
        length = elf_length(image);
    else if (magic != fatbin_magic)
        length = text_length(image);
    if (length)
        shimbench_put_buffer(payload, index, image, length, false);
}
