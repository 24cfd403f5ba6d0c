// Slots that are filled before a warp starts: constants, parameters, special registers.
#include "block_runner.hpp"

#include <algorithm>

namespace soft {

namespace {

template <class T> void broadcast(std::uint8_t *slot, std::uint64_t bits) {
    auto *d = reinterpret_cast<T *>(slot);
    std::fill(d, d + lanes, static_cast<T>(bits));
}

void broadcast(std::uint8_t *slot, std::uint64_t bits, bool wide) {
    if (wide)
        broadcast<std::uint64_t>(slot, bits);
    else
        broadcast<std::uint32_t>(slot, bits);
}

/// What a parameter's slot holds of it.
std::uint64_t parameter(const ParameterSlot &slot, const std::vector<std::uint8_t> &parameters) {
    std::uint64_t bits = 0;
    if (slot.from + slot.size <= parameters.size())
        std::memcpy(&bits, parameters.data() + slot.from, slot.size);
    if (slot.is_signed && slot.size < 4)
        bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(bits << (64 - 8 * slot.size)) >>
                                          (64 - 8 * slot.size));
    return bits;
}

/// Whether two launches of one kernel, by blocks of one shape, may have different ones; the block's own
/// numbers apart.
bool is_of_launch(Special which) {
    return (which >= Special::nctaid_x && which <= Special::nctaid_z) || which == Special::gridid ||
           which == Special::dynamic_smem_size || which == Special::total_smem_size ||
           which == Special::envreg1 || which == Special::envreg2;
}

} // namespace

/// All of them, of all warps.
void BlockRunner::fill_fixed_slots() {
    Warp &first = warps_[0];
    for (const Constant &constant : program_->constants)
        broadcast(first.registers + constant.offset, constant.bits, constant.wide);
    for (const ParameterSlot &slot : program_->parameter_slots)
        broadcast(first.registers + slot.offset, parameter(slot, launch_->parameters), slot.wide);
    set_->parameters = launch_->parameters;
    for (Warp &warp : warps_) {
        if (&warp != &first)
            std::memcpy(warp.registers, first.registers, program_->fixed_bytes);
    }
    for (Warp &warp : warps_)
        fill_fixed_specials(warp);
    std::fill(set_->block, set_->block + 3, 0); // which is what special() gives for them
    set_->block_specials.clear();
    for (const SpecialSlot &slot : program_->specials)
        if (slot.which >= Special::ctaid_x && slot.which <= Special::ctaid_z)
            set_->block_specials.push_back(
                {slot.offset, static_cast<unsigned>(slot.which) - static_cast<unsigned>(Special::ctaid_x)});
}

/// Those that another launch of the same kernel, by blocks of the same shape, has otherwise: nothing else
/// writes to these slots.
void BlockRunner::change_fixed_slots() {
    for (const SpecialSlot &slot : program_->specials) {
        if (!is_of_launch(slot.which))
            continue;
        const std::uint32_t now = special(slot.which, 0, 0);
        if (*warps_[0].slot<std::uint32_t>(slot.offset) != now)
            for (Warp &warp : warps_)
                broadcast<std::uint32_t>(warp.registers + slot.offset, now);
    }
    if (set_->parameters == launch_->parameters)
        return;
    for (const ParameterSlot &slot : program_->parameter_slots) {
        const std::uint64_t now = parameter(slot, launch_->parameters);
        if (parameter(slot, set_->parameters) != now)
            for (Warp &warp : warps_)
                broadcast(warp.registers + slot.offset, now, slot.wide);
    }
    set_->parameters = launch_->parameters;
}

/// The block's own numbers, as far as they are others than the last block's.
void BlockRunner::fill_block_specials() {
    for (const BlockSpecial &slot : set_->block_specials)
        if (block_.index[slot.dimension] != set_->block[slot.dimension])
            for (Warp &warp : warps_)
                broadcast<std::uint32_t>(warp.registers + slot.offset, block_.index[slot.dimension]);
    std::copy(block_.index, block_.index + 3, set_->block);
}

void BlockRunner::fill_fixed_specials(Warp &warp) {
    auto dimension = [](Special which) {
        return static_cast<unsigned>(which) - static_cast<unsigned>(Special::tid_x);
    };
    for (const SpecialSlot &slot : program_->specials) {
        auto *to = reinterpret_cast<std::uint32_t *>(warp.registers + slot.offset);
        if (slot.which == Special::laneid ||
            (slot.which >= Special::lanemask_eq && slot.which <= Special::lanemask_gt)) {
            for (unsigned i = 0; i < lanes; ++i)
                to[i] = special(slot.which, warp.index, i);
        } else if (dimension(slot.which) < 3) { // counted on from lane to lane: divisions take long
            std::uint32_t at[3];
            for (unsigned d = 0; d < 3; ++d)
                at[d] =
                    special(static_cast<Special>(static_cast<unsigned>(Special::tid_x) + d), warp.index, 0);
            for (unsigned i = 0; i < lanes; ++i) {
                to[i] = at[dimension(slot.which)];
                for (unsigned d = 0; d < 3 && ++at[d] == block_.size[d] && d < 2; ++d)
                    at[d] = 0;
            }
        } else {
            broadcast<std::uint32_t>(warp.registers + slot.offset, special(slot.which, warp.index, 0));
        }
    }
}

std::uint32_t BlockRunner::special(Special which, std::uint32_t warp, unsigned lane) const {
    std::uint32_t thread = warp * lanes + lane;
    switch (which) {
    case Special::tid_x:
        return thread % block_.size[0];
    case Special::tid_y:
        return thread / block_.size[0] % block_.size[1];
    case Special::tid_z:
        return thread / block_.size[0] / block_.size[1];
    case Special::ntid_x:
        return block_.size[0];
    case Special::ntid_y:
        return block_.size[1];
    case Special::ntid_z:
        return block_.size[2];
    case Special::nctaid_x:
        return block_.grid[0];
    case Special::nctaid_y:
        return block_.grid[1];
    case Special::nctaid_z:
        return block_.grid[2];
    case Special::laneid:
        return lane;
    case Special::warpid:
        return warp;
    case Special::nwarpid:
        return static_cast<std::uint32_t>(warps_.size());
    case Special::lanemask_eq:
        return 1u << lane;
    case Special::lanemask_lt:
        return (1u << lane) - 1;
    case Special::lanemask_le:
        return (2u << lane) - 1;
    case Special::lanemask_ge:
        return ~((1u << lane) - 1);
    case Special::lanemask_gt:
        return ~((2u << lane) - 1);
    case Special::nsmid:
        return 1;
    case Special::envreg1: // where cooperative groups find their grid's workspace: upper half, lower half
        return static_cast<std::uint32_t>(block_.grid_workspace >> 32);
    case Special::envreg2:
        return static_cast<std::uint32_t>(block_.grid_workspace);
    case Special::gridid:
        return static_cast<std::uint32_t>(block_.grid_id);
    case Special::dynamic_smem_size:
        return block_.dynamic_shared;
    case Special::total_smem_size:
        return static_cast<std::uint32_t>(block_.shared_size);
    default:
        return 0;
    }
}

} // namespace soft
