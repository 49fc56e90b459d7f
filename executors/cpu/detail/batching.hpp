#pragma once

#include "executors/cpu/detail/parameters.hpp"

namespace squall::executors::cpu::detail {

/// Items that run as one, by their places in the batch.
struct item_group {
  std::vector<std::size_t> items;
  /// Extents of the items along the batch axis, one per item. Empty when the group is one item alone.
  std::vector<std::int64_t> extents;
};

/// Which items of a batch may run together: equal shapes but for the batch axis, whose extent is the same in all inputs
/// of an item; inputs without a batch axis equal in every byte. Inputs must be tensors (checked before). Groups are in
/// the order of their first items.
[[nodiscard]] std::vector<item_group> group_items(std::span<const port_values> items,
                                                  const std::vector<std::optional<std::size_t>>& axes);

/// The shape of the tensors of a group put together along `axis`.
[[nodiscard]] functions::shape joined_shape(const functions::shape& first, std::size_t axis,
                                            std::span<const std::int64_t> extents);

/// Bytes that are contiguous in a tensor and belong to one index of `axis`: the extents after it times the element.
[[nodiscard]] std::size_t bytes_below(const functions::shape& shape, std::size_t axis, std::size_t element_bytes);

/// How often such runs repeat: the extents before `axis`.
[[nodiscard]] std::size_t runs_above(const functions::shape& shape, std::size_t axis);

/// Copies a tensor of `extent` along the axis into its place, from index `begin`, in one of `total`.
void put_slice(std::byte* whole, const std::byte* part, std::size_t runs, std::size_t stride_bytes, std::int64_t total,
               std::int64_t begin, std::int64_t extent);

/// The way back.
void take_slice(const std::byte* whole, std::byte* part, std::size_t runs, std::size_t stride_bytes, std::int64_t total,
                std::int64_t begin, std::int64_t extent);

} // namespace squall::executors::cpu::detail
