# Encrypts all mail for the owner of the mailbox.
#
# Meant to run before the users' own scripts, and before any other that the administrator has (behind one that files mail,
# it would not be run). Put it at /etc/dovecot/sieve/encrypt.sieve, name it as
# in 90-sieve-perot-encrypt.conf, and compile it with:
#
#     sievec -c /etc/dovecot/dovecot.conf /etc/dovecot/sieve/encrypt.sieve
#
# Do so again after each change, and after each upgrade of the plugin.
#
# `encrypt` is not followed by `stop`: the user's own script still runs, and what it files or keeps
# is the encrypted message.

require "vnd.perot.encrypt";
encrypt;
