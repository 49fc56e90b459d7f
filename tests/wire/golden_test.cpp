#include "samples.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

/// The bytes of version 1, kept. A line: the message's name, its header, its payloads, in hex. When a field was added
/// at the end on purpose, run this test with SQUALL_UPDATE_GOLDEN=1 and look at the difference: only the end of arrays
/// may have grown.
namespace squall::wire {
namespace {

using namespace testing;

const std::string golden_file = SQUALL_GOLDEN_FOLDER "/v1.txt";

std::string line_of(const frames& m) {
  std::string line = hex(m.header);
  for (const auto& payload : m.payloads)
    line += " " + hex(payload);
  return line;
}

std::map<std::string, std::string> read_golden(const std::string& path = golden_file) {
  std::map<std::string, std::string> lines;
  std::ifstream file{path};
  for (std::string line; std::getline(file, line);) {
    const auto space = line.find(' ');
    lines[line.substr(0, space)] = line.substr(space + 1);
  }
  return lines;
}

frames frames_of(const std::string& line) {
  std::istringstream words{line};
  frames m;
  std::string word;
  words >> word;
  m.header = unhex(word);
  while (words >> word)
    m.payloads.push_back(unhex(word));
  return m;
}

TEST(Golden, MessagesAreEncodedAsEver) {
  if (std::getenv("SQUALL_UPDATE_GOLDEN") != nullptr) {
    std::ofstream file{golden_file};
    for_each_message([&]<class Message>(const char* name) {
      file << name << ' ' << line_of(encode(sample<Message>(), request_id{17})) << '\n';
    });
  }
  const auto golden = read_golden();
  for_each_message([&]<class Message>(const char* name) {
    ASSERT_TRUE(golden.contains(name)) << name << " is missing in " << golden_file;
    EXPECT_EQ(line_of(encode(sample<Message>(), request_id{17})), golden.at(name)) << name;
  });
}

TEST(Golden, MessagesOfOldAreUnderstood) {
  const auto golden = read_golden();
  for_each_message([&]<class Message>(const char* name) {
    ASSERT_TRUE(golden.contains(name)) << name;
    const auto m = decode<Message>(frames_of(golden.at(name)), nullptr);
    EXPECT_TRUE(m.ok()) << name << ": " << (m.ok() ? "" : m.error().message);
  });
}

/// A client or node of an earlier release of the same version speaks to this one: fields that it does not know of are
/// left as they are made.
TEST(Golden, MessagesOfAnEarlierReleaseAreUnderstood) {
  const auto landed = read_golden(SQUALL_GOLDEN_FOLDER "/landed-1.txt");
  ASSERT_GT(landed.size(), 40U);
  std::size_t understood = 0;
  for_each_message([&]<class Message>(const char* name) {
    const auto line = landed.find(name);
    if (line == landed.end())
      return; // newer than that
    const auto m = decode<Message>(frames_of(line->second), nullptr);
    EXPECT_TRUE(m.ok()) << name << ": " << (m.ok() ? "" : m.error().message);
    ++understood;
  });
  EXPECT_EQ(understood, landed.size()) << "a message of old is gone";
}

} // namespace
} // namespace squall::wire
