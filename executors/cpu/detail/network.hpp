#pragma once

#include "executors/cpu/detail/parameters.hpp"

#include <openvino/openvino.hpp>

namespace squall::executors::cpu::detail {

[[nodiscard]] std::optional<functions::datatype> to_datatype(const ov::element::Type& type);
/// Not for BYTES.
[[nodiscard]] ov::element::Type to_element(functions::datatype type);

/// What the runtime's exception says to a person: without the places in its source.
[[nodiscard]] std::string reason(const std::exception& failure);

/// A model whose parameters and results are those of the ports, in their order.
struct bound_network {
  std::shared_ptr<ov::Model> model;
  std::vector<ov::PartialShape> input_shapes;
};

/// Reduces outputs, finds the tensor behind each port, checks type and shape, and drops the outputs that nobody asked
/// for, so that they are neither computed nor copied. May throw ov::Exception.
[[nodiscard]] result<bound_network> bind_ports(const std::shared_ptr<ov::Model>& model, const model_request& request,
                                               const model_parameters& parameters);

} // namespace squall::executors::cpu::detail
