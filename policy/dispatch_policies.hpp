#pragma once

#include "base/result.hpp"
#include "policy/dispatch_policy.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace squall::policy {

/// An option of a policy, as in `thesis:samples=4,batching=off`.
struct policy_option {
  std::string name;
  std::string value;
};

/// What a dispatch policy is made with.
struct dispatch_policy_setup {
  std::string name;          ///< as it was asked for, with its options
  std::uint64_t seed = 0;    ///< for policies that draw
  std::uint64_t last_id = 0; ///< of batches, replicas and tickets that others named: its own ids are greater
  std::vector<policy_option> options;
};

/// Options read one by one; what is left over at the end is an error that says which ones there are.
class option_reader {
public:
  explicit option_reader(const dispatch_policy_setup& setup) : setup_(setup) {}
  [[nodiscard]] bool flag(std::string_view name, bool otherwise);                                        ///< on, off
  [[nodiscard]] std::uint64_t number(std::string_view name, std::uint64_t otherwise, std::uint64_t max); ///< from 1
  [[nodiscard]] result<> finish() const;

private:
  [[nodiscard]] const std::string* take(std::string_view name);
  const dispatch_policy_setup& setup_;
  std::vector<std::string> known_;
  std::string wrong_;
};

/// A policy in its first state. `name` may carry options: `name:option=value,option=value`. An unknown name or option
/// is refused with the known ones. Ids that it names count from `last_id` + 1.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_dispatch_policy(std::string_view name, std::uint64_t seed,
                                                                            std::uint64_t last_id);

/// The known names, ascending.
[[nodiscard]] std::vector<std::string> dispatch_policy_names();

} // namespace squall::policy
