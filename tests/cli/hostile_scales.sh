# Scales that are NaN, infinite, negative or zero, for every method: what makes values of no size is refused by name, the
# rest is arithmetic. Status and message of each are in hostile_scales.exact.
python3 "$SUPPORT/hostile_scales.py" mlxmill .
