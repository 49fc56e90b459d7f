#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace squall::wire {

/// Where the controller may be found: one endpoint, or several when others stand by. One of them is the present guess.
class endpoint_list {
public:
  static constexpr std::size_t max_endpoints = 16;

  /// Separated by commas, as users give them: "tcp://10.0.0.1:7700,tcp://10.0.0.2:7700".
  explicit endpoint_list(std::string_view text = {});

  /// What a controller says of itself and the others; replaces what was said before, but never what was given at first.
  /// The guess stays.
  void learn(const std::vector<std::string>& told);

  [[nodiscard]] const std::string& current() const;
  /// Guesses the next one, round and round.
  void next();
  [[nodiscard]] bool several() const { return all_.size() > 1; }
  [[nodiscard]] bool empty() const { return all_.empty(); }
  /// In the form that the constructor takes.
  [[nodiscard]] std::string text() const;

private:
  void add(std::string_view endpoint);

  std::vector<std::string> all_;
  std::size_t given_ = 0; ///< the first so many were given
  std::size_t at_ = 0;
};

} // namespace squall::wire
