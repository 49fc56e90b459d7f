#pragma once

#include "actors/bridge.hpp"
#include "base/log.hpp"
#include "base/result.hpp"

#include <memory>
#include <string>

namespace squall::cluster {

/// The HTTP server of `gateway` beside a controller, as a client of it over its own connection.
class http_face {
public:
  /// `address` is "127.0.0.1:8000" (port 0 takes any). Listens at once; serves when the controller answers.
  [[nodiscard]] static result<std::unique_ptr<http_face>> open(const std::string& address,
                                                               const std::string& controller_endpoint,
                                                               const actors::curve_keys& keys, logger& log);
  virtual ~http_face() = default;
  [[nodiscard]] virtual const std::string& address() const = 0; ///< with the real port
};

} // namespace squall::cluster
