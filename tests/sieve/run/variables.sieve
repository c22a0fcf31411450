# Addresses can be made of variables.
require ["vnd.perot.encrypt", "variables", "envelope"];
set :lower "user" "ME";
if envelope :matches :domain "To" "*" { set "domain" "${1}"; }
encrypt "${user}@${domain}";
