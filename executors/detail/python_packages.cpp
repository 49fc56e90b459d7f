#include "executors/detail/python_packages.hpp"

#include "base/hash.hpp"

#include <fmt/format.h>

#include <array>
#include <csignal>
#include <sstream>

#include <sys/wait.h>
#include <unistd.h>

namespace squall::executors::detail {

python_packages::python_packages(std::string interpreter, std::string program, std::string folder, actors::post& post,
                                 logger& log)
    : interpreter_(std::move(interpreter)),
      program_(std::move(program)),
      folder_(std::move(folder)),
      post_(post),
      log_(log) {}

python_packages::~python_packages() {
  *alive_ = false;
  for (const auto& [folder, m] : making_) {
    stop_watching(m);
    ::kill(m.child.pid, SIGKILL);
    waitpid(m.child.pid, nullptr, 0);
  }
}

std::string python_packages::folder_of(const std::string& base, const std::string& requirements) {
  if (requirements.empty())
    return {};
  fnv1a hash;
  hash.add(requirements);
  return fmt::format("{}/{:016x}", base, hash.value());
}

void python_packages::want(const std::string& requirements, on_ready ready) {
  const std::string folder = folder_of(folder_, requirements);
  const auto [found, first] = making_.try_emplace(folder);
  found->second.waiting.push_back(std::move(ready));
  if (!first)
    return;
  found->second.requirements = requirements;
  start(folder, found->second);
}

void python_packages::start(const std::string& folder, making& m) {
  std::vector<std::string> words{"-I", program_, folder};
  std::istringstream lines{m.requirements};
  for (std::string line; std::getline(lines, line);)
    words.push_back(line);
  auto child = spawn(interpreter_, words);
  if (!child.ok()) {
    post_.later([alive = alive_, waiting = std::move(m.waiting), why = child.error()] {
      if (*alive)
        for (const auto& ready : waiting)
          ready(why);
    });
    making_.erase(folder);
    return;
  }
  m.child = std::move(child).value();
  post_.watch(m.child.errors.get(), [this, folder] { read(folder); });
  post_.watch(m.child.exited.get(), [this, folder] { on_end(folder); });
}

void python_packages::read(const std::string& folder) {
  const auto found = making_.find(folder);
  if (found == making_.end())
    return;
  making& m = found->second;
  std::array<char, 4096> block{};
  ssize_t got = 0;
  while ((got = ::read(m.child.errors.get(), block.data(), block.size())) > 0)
    m.lines.take({block.data(), static_cast<std::size_t>(got)}, [&](std::string line) {
      log_.info("python", line, {{"packages", folder}});
      m.last_line = std::move(line);
    });
  if (got == 0)
    post_.watch(m.child.errors.get(), {}); // all that it had to say
}

void python_packages::on_end(const std::string& folder) {
  read(folder);
  auto ended = making_.extract(folder);
  making& m = ended.mapped();
  stop_watching(m);
  int status = 0;
  waitpid(m.child.pid, &status, 0);
  result<> outcome;
  if (status != 0)
    outcome = {errc::failed, fmt::format("its required packages cannot be installed: {}",
                                         m.last_line.empty() ? describe_status(status) : m.last_line)};
  for (const auto& ready : m.waiting)
    ready(outcome);
}

void python_packages::stop_watching(const making& m) {
  post_.watch(m.child.errors.get(), {});
  post_.watch(m.child.exited.get(), {});
}

} // namespace squall::executors::detail
