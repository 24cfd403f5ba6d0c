/* MD2 by the test suite of RFC 1319, HMAC against another implementation, the self-test's answer. */
#include "check.h"

#include <string.h>

#include "cuda/digest.h"
#include "cuda/integrity.h"

static const char *hex(const uint8_t digest[MD2_BYTES]) {
    static char text[2 * MD2_BYTES + 1];
    for (int i = 0; i < MD2_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

static const char *md2(const char *text) {
    struct md2 md2;
    uint8_t digest[MD2_BYTES];
    md2_start(&md2);
    md2_add(&md2, text, strlen(text));
    md2_finish(&md2, digest);
    return hex(digest);
}

static void md2_gives_the_digests_of_rfc_1319(void) {
    CHECK(!strcmp(md2(""), "8350e5a3e24c153df2275c9f80692773"));
    CHECK(!strcmp(md2("a"), "32ec01ec4a6dac72c0ab96fb34c0b5d1"));
    CHECK(!strcmp(md2("abc"), "da853b0d3f88d99b30283a69e6ded6bb"));
    CHECK(!strcmp(md2("message digest"), "ab4f496bfb2a530b219ff33031fe06b0"));
    CHECK(!strcmp(md2("abcdefghijklmnopqrstuvwxyz"), "4e8ddff3650292ab5a4108c3aa47940b"));
    CHECK(!strcmp(md2("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                  "da33def2a42df13975352846c30338cd"));
    CHECK(!strcmp(md2("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
                  "d5976f79d83d3a0dc9806c3c66f3efd8"));
}

/* HMAC by its definition: H(key ^ opad, H(key ^ ipad, text)). */
static void hmac_is_two_digests_with_padded_keys(void) {
    uint8_t key[MD2_BYTES], inner[MD2_BYTES], outer[MD2_BYTES], digest[MD2_BYTES], padded[MD2_BYTES];
    struct md2 md2;
    struct hmac_md2 hmac;
    for (int i = 0; i < MD2_BYTES; i++)
        key[i] = (uint8_t)(17 * i);
    for (int i = 0; i < MD2_BYTES; i++)
        padded[i] = key[i] ^ 0x36;
    md2_start(&md2);
    md2_add(&md2, padded, sizeof padded);
    md2_add(&md2, "some text, longer than a block", 30);
    md2_finish(&md2, inner);
    for (int i = 0; i < MD2_BYTES; i++)
        padded[i] = key[i] ^ 0x5c;
    md2_start(&md2);
    md2_add(&md2, padded, sizeof padded);
    md2_add(&md2, inner, sizeof inner);
    md2_finish(&md2, outer);

    hmac_md2_start(&hmac, key);
    hmac_md2_add(&hmac, "some text, ", 11);
    hmac_md2_add(&hmac, "longer than a block", 19);
    hmac_md2_finish(&hmac, digest);
    CHECK(!memcmp(digest, outer, sizeof digest));
}

static void the_self_test_has_constants_for_its_first_two_questions_only(void) {
    struct integrity_subject subject = {.driver_version = 13050, .version = 13000};
    struct integrity_device device = {.pci_device = 5};
    uint64_t first[2], second[2], third[2], again[2];
    integrity_answer(&subject, &device, 1, first);
    subject.version = 13001;
    integrity_answer(&subject, &device, 1, second);
    subject.version = 13002;
    integrity_answer(&subject, &device, 1, third);
    subject.seconds = 1;
    integrity_answer(&subject, &device, 1, again);
    CHECK(first[0] != second[0] && first[1] == second[1]);
    CHECK(third[0] != first[0] && third[0] != second[0]);
    CHECK(memcmp(third, again, sizeof third));
}

int main(void) {
    md2_gives_the_digests_of_rfc_1319();
    hmac_is_two_digests_with_padded_keys();
    the_self_test_has_constants_for_its_first_two_questions_only();
    return result();
}
