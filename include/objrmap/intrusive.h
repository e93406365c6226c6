// SPDX-License-Identifier: GPL-2.0
// intrusive.h: doubly linked lists whose links live in the objects themselves; and container_of.
// Linux counterpart: include/linux/list.h.
//
// Terms: a *node* is the link inside an object; the *head* is inside the List and belongs to no object.
// States of a node: unlinked (both pointers NULL; zeroed memory is a valid unlinked node) or linked (in exactly one list).
// States of a head: never used (NULL, so that zeroed memory and constinit globals are empty lists), or closed to a ring.
//
// Invariants (List::check):
//   L1 a head's pointers are both NULL or both not.
//   L2 for every link of the ring a -> b: b.prev is a, and b is linked.
//
// Ownership: a list owns nothing. An object must be unlinked before its memory goes; a list must be empty by then, too.
// Locking: none here. Changes need the owner's lock for write; const functions read only, so a shared lock is enough.
// Context: any; never allocates, never sleeps, every operation but check and clear takes constant time.
#pragma once

namespace objr {

namespace detail {

// Class and field type of a pointer to data member.
template <class M>
struct MemberOf;
template <class Class, class Field>
struct MemberOf<Field Class::*> {
    using Owner = Class;
    using Value = Field;
};

// In the Itanium C++ ABI (x86-64 Linux) a pointer to data member is the offset of the field: no dereference, no UB.
template <auto Member>
[[gnu::always_inline]] inline __PTRDIFF_TYPE__ member_offset() {
    return __builtin_bit_cast(__PTRDIFF_TYPE__, Member);
}

} // namespace detail

// The object that `field` is a part of: container_of<&Vma::prio>(node). The caller knows that it is a part of one;
// nothing checks it.
template <auto Member>
[[gnu::always_inline]] inline typename detail::MemberOf<decltype(Member)>::Owner&
container_of(typename detail::MemberOf<decltype(Member)>::Value& field) {
    using Owner = typename detail::MemberOf<decltype(Member)>::Owner;
    return *reinterpret_cast<Owner*>(reinterpret_cast<char*>(&field) - detail::member_offset<Member>());
}

template <auto Member>
[[gnu::always_inline]] inline const typename detail::MemberOf<decltype(Member)>::Owner&
container_of(const typename detail::MemberOf<decltype(Member)>::Value& field) {
    using Owner = typename detail::MemberOf<decltype(Member)>::Owner;
    return *reinterpret_cast<const Owner*>(reinterpret_cast<const char*>(&field) - detail::member_offset<Member>());
}

// The link of one object in one list. Its address is its identity: it cannot be copied or moved.
struct ListNode {
    constexpr ListNode() = default;
    ListNode(const ListNode&) = delete;
    ListNode& operator=(const ListNode&) = delete;

    [[nodiscard]] bool linked() const { return next != nullptr; }

    ListNode* prev = nullptr;
    ListNode* next = nullptr;
};

// A list of T, linked through T::*Member. `for (T& object : list)` visits in order; the loop body must not unlink the
// object that it stands on, except over list.safe().
template <class T, ListNode T::*Member>
class List {
    template <class Object, bool kSafe>
    class Iterator {
    public:
        // at is read only by a safe iterator, that remembers its successor before the body runs.
        explicit Iterator(const ListNode* at) : at_(at), next_(kSafe ? at->next : nullptr) {}
        Object& operator*() const { return object_of(const_cast<ListNode&>(*at_)); }
        Object* operator->() const { return &**this; }
        Iterator& operator++() {
            at_ = kSafe ? next_ : at_->next;
            if constexpr (kSafe) next_ = at_->next;
            return *this;
        }
        bool operator==(const Iterator& other) const { return at_ == other.at_; }

    private:
        const ListNode* at_;
        const ListNode* next_;
    };

    class SafeRange {
    public:
        explicit SafeRange(List& list) : list_(list) {}
        auto begin() const { return Iterator<T, true>(list_.first_node()); }
        auto end() const { return Iterator<T, true>(&list_.head_); }

    private:
        List& list_;
    };

public:
    constexpr List() = default;
    List(const List&) = delete;
    List& operator=(const List&) = delete;

    [[nodiscard]] bool empty() const { return first_node() == &head_; }

    // First, last object; NULL: the list is empty.
    [[nodiscard]] T* front() const { return object_or_null(first_node()); }
    [[nodiscard]] T* back() const { return object_or_null(head_.prev ? head_.prev : &head_); }

    // Neighbours of an object of this list; NULL: there is none on that side.
    [[nodiscard]] T* next(const T& object) const { return object_or_null((object.*Member).next); }
    [[nodiscard]] T* prev(const T& object) const { return object_or_null((object.*Member).prev); }

    // The object must be unlinked before each of these four.
    void push_front(T& object) {
        close_ring();
        link(object.*Member, head_, *head_.next);
    }
    void push_back(T& object) {
        close_ring();
        link(object.*Member, *head_.prev, head_);
    }
    // at must be in a list; these need not know which.
    static void insert_after(T& at, T& object) { link(object.*Member, at.*Member, *(at.*Member).next); }
    static void insert_before(T& at, T& object) { link(object.*Member, *(at.*Member).prev, at.*Member); }

    // The object must be linked; it is unlinked after.
    static void erase(T& object) {
        ListNode& node = object.*Member;
        node.prev->next = node.next;
        node.next->prev = node.prev;
        node.prev = nullptr;
        node.next = nullptr;
    }

    // Take the first object out; NULL: the list is empty.
    [[nodiscard]] T* pop_front() {
        T* object = front();
        if (object) erase(*object);
        return object;
    }

    // Move an object of any list of this kind to the end of this one.
    void move_back(T& object) {
        erase(object);
        push_back(object);
    }

    // Append all of other, in its order; other is empty after.
    void splice_back(List& other) {
        if (other.empty()) return;
        close_ring();
        ListNode* first = other.head_.next;
        ListNode* last = other.head_.prev;
        first->prev = head_.prev;
        head_.prev->next = first;
        last->next = &head_;
        head_.prev = last;
        other.head_.prev = &other.head_;
        other.head_.next = &other.head_;
    }

    // Unlink all.
    void clear() {
        while (T* object = front())
            erase(*object);
    }

    auto begin() { return Iterator<T, false>(first_node()); }
    auto end() { return Iterator<T, false>(&head_); }
    auto begin() const { return Iterator<const T, false>(first_node()); }
    auto end() const { return Iterator<const T, false>(&head_); }

    // For a loop whose body may unlink (and free) the object that it stands on, but no other of this list.
    [[nodiscard]] SafeRange safe() {
        close_ring();
        return SafeRange(*this);
    }

    // NULL: the invariants hold. Else which one does not, in words.
    [[nodiscard]] const char* check() const {
        if (!head_.next != !head_.prev) return "L1: half of a list head is NULL";
        if (!head_.next) return nullptr;
        const ListNode* node = &head_;
        do {
            if (!node->next || node->next->prev != node) return "L2: neighbours in a list disagree";
            node = node->next;
        } while (node != &head_);
        return nullptr;
    }

private:
    static T& object_of(ListNode& node) { return container_of<Member>(node); }

    T* object_or_null(const ListNode* node) const {
        return node == &head_ ? nullptr : &object_of(const_cast<ListNode&>(*node));
    }

    const ListNode* first_node() const { return head_.next ? head_.next : &head_; }

    void close_ring() {
        if (head_.next) return;
        head_.prev = &head_;
        head_.next = &head_;
    }

    static void link(ListNode& node, ListNode& before, ListNode& after) {
        node.prev = &before;
        node.next = &after;
        before.next = &node;
        after.prev = &node;
    }

    ListNode head_;
};

} // namespace objr
