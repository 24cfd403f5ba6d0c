// What the workbench asks of the collector, over a stream socket. A message is a u32 length and fields
// that end in NUL, the last field without one: the rest, whatever is in it.
#pragma once

#include "event_loop.hpp"

#include <cstdlib>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <vector>

namespace shimbench::collector {

// Takes fields off the front of a message.
class Fields {
  public:
    explicit Fields(std::string_view text) : text_(text) {}
    std::string_view next();
    long number() { return std::strtol(std::string(next()).c_str(), nullptr, 10); }
    std::string_view rest() const { return text_; }

  private:
    std::string_view text_;
};

// A listening AF_UNIX socket of this user only; the path may be as long as a path may be.
session::Descriptor listen_at(const std::string &directory, const std::string &name, int type);
// The same by a name that lies in no folder, made from the socket's file at `path`: for who may not enter its
// folder or has another root. Anybody may connect, so who it is must be looked at. Empty when there is none.
session::Descriptor listen_at_name(const std::string &path);
// Is the peer a process of ours, or of `other` (a user's number, -1 nobody)? Its pid.
bool known_user(int socket, int &pid, long other = -1);

class Control {
  public:
    // Answers a request: the reply's fields, "ok" or "error" first.
    using Answer = std::function<std::string(std::string_view verb, Fields fields)>;
    Control(EventLoop &loop, const std::string &directory, Answer answer);
    // To everybody who watches; kept for the next one when nobody does.
    void notify(const std::string &message);
    size_t clients() const { return clients_.size(); }
    bool had_clients() const { return had_clients_; }
    // Sends what is left, as far as it is taken.
    void flush();

  private:
    struct Client {
        session::Descriptor socket;
        std::string in, out;
        bool watches = false;
    };
    using Place = std::list<Client>::iterator;

    void accept();
    void read(Place client);
    void answer(Client &client, std::string_view message);
    void send(Client &client, std::string_view message);
    bool flush(Client &client);
    void drop(Place client);

    EventLoop &loop_;
    session::Descriptor listener_;
    Answer answer_;
    std::list<Client> clients_;
    std::vector<std::string> unheard_;
    bool had_clients_ = false;
};

// Fields as one message's text.
std::string joined(std::initializer_list<std::string_view> fields);

} // namespace shimbench::collector
