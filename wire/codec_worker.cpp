#include "wire/detail/codec_of.hpp"
#include "wire/worker.hpp"

SQUALL_CODEC_OF(squall::wire::worker::ready);
SQUALL_CODEC_OF(squall::wire::worker::load);
SQUALL_CODEC_OF(squall::wire::worker::loaded);
SQUALL_CODEC_OF(squall::wire::worker::unload);
SQUALL_CODEC_OF(squall::wire::worker::run);
SQUALL_CODEC_OF(squall::wire::worker::done);
SQUALL_CODEC_OF(squall::wire::worker::release);
SQUALL_CODEC_OF(squall::wire::worker::cancel);
SQUALL_CODEC_OF(squall::wire::worker::note);
