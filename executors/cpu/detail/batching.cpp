#include "executors/cpu/detail/batching.hpp"

#include <algorithm>
#include <cstring>

namespace squall::executors::cpu::detail {

namespace {

using axes_of_ports = std::vector<std::optional<std::size_t>>;

/// The item's extent along the batch axis; none when it cannot join others.
std::optional<std::int64_t> batch_extent(const port_values& item, const axes_of_ports& axes) {
  std::optional<std::int64_t> extent;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (!axes[i])
      continue;
    const auto own = item[i].as_tensor()->shape[*axes[i]];
    if (extent && *extent != own)
      return std::nullopt;
    extent = own;
  }
  return extent;
}

bool equal_but_for_axis(const functions::shape& a, const functions::shape& b, std::size_t axis) {
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (i != axis && a[i] != b[i])
      return false;
  return true;
}

bool can_join(const port_values& a, const port_values& b, const axes_of_ports& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto& x = *a[i].as_tensor();
    const auto& y = *b[i].as_tensor();
    if (axes[i] ? !equal_but_for_axis(x.shape, y.shape, *axes[i]) : x != y)
      return false;
  }
  return true;
}

} // namespace

std::vector<item_group> group_items(std::span<const port_values> items, const axes_of_ports& axes) {
  std::vector<item_group> groups;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto extent = batch_extent(items[i], axes);
    const auto fits = [&](const item_group& group) {
      return !group.extents.empty() && can_join(items[group.items.front()], items[i], axes);
    };
    const auto found = extent ? std::ranges::find_if(groups, fits) : groups.end();
    if (found != groups.end()) {
      found->items.push_back(i);
      found->extents.push_back(*extent);
    } else {
      groups.push_back({{i}, extent ? std::vector{*extent} : std::vector<std::int64_t>{}});
    }
  }
  for (auto& group : groups)
    if (group.items.size() == 1)
      group.extents.clear();
  return groups;
}

functions::shape joined_shape(const functions::shape& first, std::size_t axis, std::span<const std::int64_t> extents) {
  auto shape = first;
  shape[axis] = 0;
  for (const auto extent : extents)
    shape[axis] += extent;
  return shape;
}

std::size_t bytes_below(const functions::shape& shape, std::size_t axis, std::size_t element_bytes) {
  auto bytes = element_bytes;
  for (std::size_t i = axis + 1; i < shape.size(); ++i)
    bytes *= static_cast<std::size_t>(shape[i]);
  return bytes;
}

std::size_t runs_above(const functions::shape& shape, std::size_t axis) {
  std::size_t runs = 1;
  for (std::size_t i = 0; i < axis; ++i)
    runs *= static_cast<std::size_t>(shape[i]);
  return runs;
}

void put_slice(std::byte* whole, const std::byte* part, std::size_t runs, std::size_t stride_bytes, std::int64_t total,
               std::int64_t begin, std::int64_t extent) {
  const auto run_bytes = static_cast<std::size_t>(extent) * stride_bytes;
  for (std::size_t run = 0; run < runs; ++run)
    std::memcpy(whole + (run * static_cast<std::size_t>(total) + static_cast<std::size_t>(begin)) * stride_bytes,
                part + run * run_bytes, run_bytes);
}

void take_slice(const std::byte* whole, std::byte* part, std::size_t runs, std::size_t stride_bytes, std::int64_t total,
                std::int64_t begin, std::int64_t extent) {
  const auto run_bytes = static_cast<std::size_t>(extent) * stride_bytes;
  for (std::size_t run = 0; run < runs; ++run)
    std::memcpy(part + run * run_bytes,
                whole + (run * static_cast<std::size_t>(total) + static_cast<std::size_t>(begin)) * stride_bytes,
                run_bytes);
}

} // namespace squall::executors::cpu::detail
