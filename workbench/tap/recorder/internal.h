/* What the recorder's files share among themselves. */
#ifndef SHIMBENCH_RECORDER_INTERNAL_H
#define SHIMBENCH_RECORDER_INTERNAL_H

#include "shimbench/recorder.h"
#include "tap_model.h"

enum registration { REGISTRATION_NONE = 0, REGISTRATION_DONE, REGISTRATION_REFUSED };

/* Hands `region` to the collector and tees descriptors 1 and 2 if that is wanted. The socket that stays
 * open, or -1 and errno when there is no collector or it doesn't want us. */
int tap_register(const struct tap_region *region, int region_fd, const char *origin);
/* True when the socket made by tap_register is certainly closed at the other end. */
bool tap_collector_is_gone(void);
/* False when the target closed that socket: then its end says nothing. */
bool tap_hears_of_collector(void);
/* Nobody drains any more: calls pass through unrecorded from here on, and stop nowhere. */
void tap_do_without_collector(struct tap_region *region);
/* In a fork's child: forgets the parent's socket, and closes it if it's still that. */
void tap_forget_socket(void);
bool tap_socket_is_configured(void);
/* Whether a file of this size is within the process's limit; one that isn't would end the process. */
bool tap_may_make_file(uint64_t size);

/* Makes the calling process known, once; after a fork again. */
bool tap_ensure_registered(void);

/* In a fork's child: this thread has no block and is inside of no call. */
void tap_reset_local(void);
/* Puts a chunk from the free list or a fresh one behind the thread's chain; false: the region is full. */
bool tap_next_chunk(struct tap_local *local);
/* Room for `cells` cells at the end of the thread's chain; NULL when the region is full. */
struct tap_record *tap_reserve(struct tap_local *local, uint32_t cells);
/* Hands a lane's memfd to the collector; false when that can't be. */
bool tap_send_lane(int lane_fd, uint32_t number, uint64_t size);
/* In a fork's child: lanes are the parent's, and so is what its copies will fill. */
void tap_forget_buffers(void);
/* In a fork's child: what the parent's region says of modules isn't in ours. */
void tap_forget_modules(void);
/* Finds a thread block and a first chunk for this thread. */
bool tap_claim_thread(struct tap_local *local);
void tap_make_thread_key(void);

#endif
